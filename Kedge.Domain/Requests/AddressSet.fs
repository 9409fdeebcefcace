namespace Kedge.Domain

open System
open System.Buffers.Binary
open System.Net
open System.Net.Sockets

/// A set of IP addresses, as intervals, so that sets can be compared exactly. An IPv4-mapped IPv6 address counts as the
/// IPv4 address in it (RFC 4291, 2.5.5.2); IPv6 networks contain no IPv4 addresses. Equal sets are equal values.
[<Sealed>]
type AddressSet private (intervals: struct (UInt128 * UInt128) array) =

    // Both families share one order: an IPv4 address has the number of its IPv4-mapped form.
    static let firstV4 = UInt128(0UL, 0xFFFF_0000_0000UL)
    static let lastV4 = UInt128(0UL, 0xFFFF_FFFF_FFFFUL)

    static let number (address: IPAddress) : UInt128 =
        let octets = Span<byte>(Array.zeroCreate<byte> 16)

        if address.AddressFamily = AddressFamily.InterNetwork then
            address.TryWriteBytes(octets.Slice 12) |> ignore
            firstV4 + BinaryPrimitives.ReadUInt128BigEndian(Span<byte>.op_Implicit octets)
        else
            address.TryWriteBytes octets |> ignore
            BinaryPrimitives.ReadUInt128BigEndian(Span<byte>.op_Implicit octets)

    static let address (number: UInt128) : IPAddress =
        let octets = Array.zeroCreate<byte> 16
        BinaryPrimitives.WriteUInt128BigEndian(octets.AsSpan(), number)
        let address = IPAddress octets

        if address.IsIPv4MappedToIPv6 then
            address.MapToIPv4()
        else
            address

    /// Sorted, and neither overlapping nor adjacent.
    static let normal (intervals: struct (UInt128 * UInt128) seq) =
        let result = ResizeArray<struct (UInt128 * UInt128)>()

        for struct (first, last) in Seq.sort intervals do
            if result.Count > 0 then
                let struct (earlier, until) = result[result.Count - 1]

                if until = UInt128.MaxValue || first <= until + UInt128.One then
                    result[result.Count - 1] <- struct (earlier, max until last)
                else
                    result.Add(struct (first, last))
            else
                result.Add(struct (first, last))

        result.ToArray()

    static let complement (intervals: struct (UInt128 * UInt128) array) =
        [|
            let mutable next = UInt128.Zero
            let mutable isOpen = true

            for struct (first, last) in intervals do
                if next < first then
                    struct (next, first - UInt128.One)

                if last = UInt128.MaxValue then
                    isOpen <- false
                else
                    next <- last + UInt128.One

            if isOpen then
                struct (next, UInt128.MaxValue)
        |]

    static let empty = AddressSet [||]

    static let mapped =
        AddressSet
            [|
                struct (UInt128(0UL, 0xFFFF_0000_0000UL), UInt128(0UL, 0xFFFF_FFFF_FFFFUL))
            |]

    /// Every address of both families.
    static let all = AddressSet [| struct (UInt128.Zero, UInt128.MaxValue) |]

    member private _.Intervals = intervals

    static member Empty = empty
    static member All = all

    member _.IsEmpty = intervals.Length = 0

    static member Union(sets: AddressSet seq) : AddressSet = AddressSet(normal (sets |> Seq.collect _.Intervals))

    /// The addresses of this set that are not in the other.
    member set.Except(other: AddressSet) : AddressSet =
        // Not (not this, or other).
        AddressSet(complement (normal (Seq.append (complement set.Intervals) other.Intervals)))

    /// Allocates little, whatever the size of the set.
    member _.Contains(wanted: IPAddress) : bool =
        let wanted = number wanted
        let mutable low = 0
        let mutable high = intervals.Length - 1
        let mutable found = false

        while not found && low <= high do
            let middle = (low + high) / 2
            let struct (first, last) = intervals[middle]

            if wanted < first then high <- middle - 1
            elif wanted > last then low <- middle + 1
            else found <- true

        found

    /// The lowest IPv4 address of the set, or the lowest IPv6 address when it contains no IPv4 address.
    member set.Lowest: IPAddress option =
        let ofFamily =
            intervals
            |> Array.tryPick (fun (struct (first, last)) ->
                if last < firstV4 || first > lastV4 then
                    None
                else
                    Some(max first firstV4))

        match ofFamily with
        | Some lowest -> Some(address lowest)
        | None ->
            intervals
            |> Array.tryHead
            |> Option.map (fun (struct (first, _)) -> address first)

    /// The addresses of a network: `10.0.0.0/8`, `2001:db8::/32`, or one address. The error completes "must be …".
    static member TryParse(text: string) : Result<AddressSet, string> =
        let slash = text.IndexOf '/'
        let written = if slash < 0 then text else text.Substring(0, slash)

        let hasPrefix, prefix =
            if slash < 0 then
                true, -1
            else
                Int32.TryParse(
                    text.AsSpan(slash + 1),
                    Globalization.NumberStyles.None,
                    Globalization.CultureInfo.InvariantCulture
                )

        match IPAddress.TryParse written with
        | true, (NonNull address) when
            hasPrefix
            && not (written.Contains '%' || written.Contains '[')
            // The base library accepts 10.1 as an address, and reads 010.0.0.1 as 8.0.0.1.
            && (address.AddressFamily <> AddressFamily.InterNetwork || string address = written)
            && prefix <= 8 * address.GetAddressBytes().Length
            ->
            let bits = 8 * address.GetAddressBytes().Length
            let prefix = if prefix < 0 then bits else prefix
            let size = bits - prefix

            // A shift by the whole width would not shift at all.
            let host =
                if size = 128 then
                    UInt128.MaxValue
                else
                    (UInt128.One <<< size) - UInt128.One

            let start = number address
            let first = start &&& (UInt128.MaxValue ^^^ host)

            if start <> first then
                Error $"a network without bits beyond its prefix: {AddressSet.TextOf(first, prefix, bits)}"
            else
                let whole = AddressSet [| struct (first, first + host) |]

                if bits = 128 && not (first >= firstV4 && first + host <= lastV4) then
                    Ok(whole.Except mapped)
                else
                    Ok whole
        | _ -> Error "a network such as 10.0.0.0/8 or 2001:db8::/32, or an address"

    static member private TextOf(network: UInt128, prefix: int, bits: int) =
        let text =
            if bits = 32 then
                string (address network)
            else
                let octets = Array.zeroCreate<byte> 16
                BinaryPrimitives.WriteUInt128BigEndian(octets.AsSpan(), network)
                string (IPAddress octets)

        $"{text}/{prefix}"

    override _.Equals(other: obj | null) =
        match other with
        | :? AddressSet as other -> intervals = other.Intervals
        | _ -> false

    override _.GetHashCode() = hash intervals
