namespace Kedge.Domain

open System
open System.Globalization

/// Numbers and durations as texts. Exact: nothing is rounded on the way.
[<RequireQualifiedAccess>]
module internal Scalar =

    type NumberFault =
        /// No number, or one with a fraction.
        | NotWhole
        | OutOfBounds

    let private isDigits (text: string) = text <> "" && text |> String.forall Char.IsAsciiDigit

    /// An unsigned 32-bit number in any way that JSON can write one: `443`, `443.0`, `4.43e2`.
    let wholeNumber (text: string) : Result<uint32, NumberFault> =
        let negative = text.StartsWith '-'
        let unsigned = if negative then text.Substring 1 else text
        let e = unsigned.IndexOfAny [| 'e'; 'E' |]
        let mantissa = if e < 0 then unsigned else unsigned.Substring(0, e)
        let exponent = if e < 0 then "0" else unsigned.Substring(e + 1)
        let dot = mantissa.IndexOf '.'
        let whole = if dot < 0 then mantissa else mantissa.Substring(0, dot)
        let fraction = if dot < 0 then "0" else mantissa.Substring(dot + 1)

        let exponentDigits =
            if exponent.StartsWith '-' || exponent.StartsWith '+' then
                exponent.Substring 1
            else
                exponent

        let wellFormed =
            isDigits whole
            && isDigits fraction
            && isDigits exponentDigits
            && (whole.Length = 1 || whole[0] <> '0')

        if not wellFormed then
            Error NotWhole
        else
            let digits = (whole + fraction).TrimStart '0'
            let significant = digits.TrimEnd '0'

            if significant = "" then
                Ok 0u
            else
                let size =
                    match Int32.TryParse(exponentDigits, NumberStyles.None, CultureInfo.InvariantCulture) with
                    | true, size -> int64 size
                    | _ -> int64 Int32.MaxValue * 2L

                // The value is `significant` times ten to the power of `zeros`.
                let zeros =
                    (if exponent.StartsWith '-' then -size else size) - int64 fraction.Length
                    + int64 (digits.Length - significant.Length)

                if zeros < 0L then
                    Error NotWhole
                elif negative || int64 significant.Length + zeros > 10L then
                    Error OutOfBounds
                else
                    let value =
                        UInt64.Parse(significant + String('0', int zeros), CultureInfo.InvariantCulture)

                    if value > uint64 UInt32.MaxValue then
                        Error OutOfBounds
                    else
                        Ok(uint32 value)

    /// In ticks of 100 ns.
    let private units =
        [
            "ns", 0.01m
            "us", 10m
            "µs", 10m
            "μs", 10m
            "ms", 10_000m
            "s", 10_000_000m
            "m", 600_000_000m
            "h", 36_000_000_000m
        ]

    let private longestDuration = TimeSpan.FromDays 3650.0

    /// A duration as Go writes it (`300ms`, `1m30s`, `1.5h`), which includes proto3 JSON's (`1.5s`); `0` needs no unit.
    /// None when it is negative, finer than 100 ns, or longer than ten years.
    let duration (text: string) : TimeSpan voption =
        let rec read (at: int) (ticks: decimal) =
            if at = text.Length then
                ValueSome ticks
            else
                let mutable unitStart = at

                while unitStart < text.Length
                      && (Char.IsAsciiDigit text[unitStart] || text[unitStart] = '.') do
                    unitStart <- unitStart + 1

                let mutable stop = unitStart

                while stop < text.Length && Char.IsLetter text[stop] do
                    stop <- stop + 1

                let number = text.Substring(at, unitStart - at)
                let unit = text.Substring(unitStart, stop - unitStart)

                match List.tryFind (fun (name, _) -> name = unit) units with
                | Some(_, size) when number.Length <= 20 ->
                    match Decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture) with
                    | true, number when number <= 1_000_000_000m -> read stop (ticks + number * size)
                    | _ -> ValueNone
                | _ -> ValueNone

        if text = "0" then
            ValueSome TimeSpan.Zero
        elif text = "" || text.Length > 64 then
            ValueNone
        else
            match read 0 0m with
            | ValueSome ticks when Decimal.IsInteger ticks && ticks <= decimal longestDuration.Ticks ->
                ValueSome(TimeSpan.FromTicks(int64 ticks))
            | _ -> ValueNone

    /// In seconds with at most seven decimals, as proto3 JSON has it: `1.5s`.
    let renderDuration (duration: TimeSpan) : string =
        (decimal duration.Ticks / 10_000_000m).ToString("0.#######", CultureInfo.InvariantCulture)
        + "s"
