namespace Kedge.Domain

open System
open System.Globalization

/// Why a text is not an unsigned 32-bit number.
type internal NumberFault =
    /// It is not a number, or has a fraction.
    | NotWhole
    | OutOfBounds

/// Unsigned 32-bit numbers as texts.
[<RequireQualifiedAccess>]
module internal WholeNumber =

    let private isDigits (text: string) = text <> "" && text |> String.forall Char.IsAsciiDigit

    /// Reads a number in any notation of JSON: `443`, `443.0`, `4.43e2`. Exact: nothing is rounded on the way.
    let parse (text: string) : Result<uint32, NumberFault> =
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
