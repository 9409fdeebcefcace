namespace Kedge.Domain

open System.Numerics

/// A share of requests or callers, from 0 to 1. Exact.
[<Struct>]
type Share =
    private
        {
            Part: BigInteger
            Whole: BigInteger
        }

    static member Of(part: BigInteger, whole: BigInteger) : Share =
        let divisor = BigInteger.GreatestCommonDivisor(part, whole)

        {
            Part = part / divisor
            Whole = whole / divisor
        }

    static member Zero: Share =
        {
            Part = BigInteger.Zero
            Whole = BigInteger.One
        }

    static member One: Share =
        {
            Part = BigInteger.One
            Whole = BigInteger.One
        }

    static member (+)(one: Share, other: Share) : Share =
        Share.Of(one.Part * other.Whole + other.Part * one.Whole, one.Whole * other.Whole)

    static member (-)(one: Share, other: Share) : Share =
        Share.Of(one.Part * other.Whole - other.Part * one.Whole, one.Whole * other.Whole)

    static member (*)(one: Share, other: Share) : Share = Share.Of(one.Part * other.Part, one.Whole * other.Whole)

    member share.IsZero: bool = share.Part.IsZero

    /// As a number; rounded.
    member share.Value: float = float share.Part / float share.Whole

    /// `9/20 (45 %)`
    member share.Text: string =
        let percent =
            (100.0 * share.Value).ToString("0.###", System.Globalization.CultureInfo.InvariantCulture)

        $"{share.Part}/{share.Whole} ({percent} %%)"

/// The share of a route's callers or requests that move to another backend after a change of its split.
[<RequireQualifiedAccess>]
module MovedShare =

    let private big (value: uint32) = BigInteger value

    let private weights (split: Split) : Map<string, BigInteger> =
        split.Backends
        |> List.filter (fun backend -> backend.Weight > 0u)
        |> List.map (fun backend -> backend.Name, big backend.Weight)
        |> Map.ofList

    let private total (weights: Map<string, BigInteger>) = weights |> Map.toSeq |> Seq.sumBy snd

    let private shareOf (weights: Map<string, BigInteger>) name =
        match weights.TryFind name with
        | Some weight -> Share.Of(weight, total weights)
        | None -> Share.Zero

    let private names (before: Map<string, BigInteger>) (after: Map<string, BigInteger>) =
        Seq.append before.Keys after.Keys |> Seq.distinct |> List.ofSeq

    /// When both splits draw for each request: half of the sum of the differences.
    let ofDraws (before: Split) (after: Split) : Share =
        let before, after = weights before, weights after

        (Share.Zero, names before after)
        ||> List.fold (fun lost name ->
            let loss = shareOf before name - shareOf after name
            if loss.Value > 0.0 then lost + loss else lost)

    /// When the choices before and after are independent: another key, or another name of the route.
    let ofOtherDraws (before: Split) (after: Split) : Share =
        let before, after = weights before, weights after

        (Share.One, names before after)
        ||> List.fold (fun moved name -> moved - shareOf before name * shareOf after name)

    /// When both splits choose by the same key under the same route name.
    ///
    /// Backend i keeps a caller when its exponential variable Eᵢ is the least of all Eⱼ/wⱼ both before and after:
    /// Eⱼ ≥ Eᵢ·max(wⱼ/wᵢ, w′ⱼ/w′ᵢ) for all j, which has the probability 1/Σⱼ max(wⱼ/wᵢ, w′ⱼ/w′ᵢ).
    let ofKeys (before: Split) (after: Split) : Share =
        let before, after = weights before, weights after
        let weight (weights: Map<string, BigInteger>) name = weights.TryFind name |> Option.defaultValue BigInteger.Zero

        (Share.One, names before after)
        ||> List.fold (fun moved name ->
            let was, now = weight before name, weight after name

            if was.IsZero || now.IsZero then
                moved
            else
                // Both ratios over the common denominator was·now.
                let sum =
                    names before after
                    |> List.sumBy (fun other -> BigInteger.Max(weight before other * now, weight after other * was))

                moved - Share.Of(was * now, sum))
