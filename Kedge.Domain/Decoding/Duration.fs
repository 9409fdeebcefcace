namespace Kedge.Domain

open System
open System.Globalization
open System.Runtime.InteropServices
open System.Text

/// Durations in the notation of Go's `time.ParseDuration`: decimal numbers, each with a unit (`ns us µs ms s m h`),
/// such as `300ms` or `1h15m30.918s`. A bare `0` needs no unit. This includes the durations of proto3 JSON (`1.5s`).
[<AbstractClass; Sealed>]
type Duration private () =

    /// In ticks of 100 ns; 0 for a text that is not a unit.
    static let ticksOfUnit (unit: string) : decimal =
        match unit with
        | "ns" -> 0.01m
        | "us"
        | "µs" // U+00B5, the micro sign
        | "μs" -> 10m // U+03BC, the Greek letter
        | "ms" -> decimal TimeSpan.TicksPerMillisecond
        | "s" -> decimal TimeSpan.TicksPerSecond
        | "m" -> decimal TimeSpan.TicksPerMinute
        | "h" -> decimal TimeSpan.TicksPerHour
        | _ -> 0m

    static let isOfNumber (c: char) = Char.IsAsciiDigit c || c = '.'

    /// More digits are rejected: a `decimal` could not hold them exactly.
    static let maxNumberLength = 20

    /// The exact value in ticks, perhaps with a fraction; ValueNone when the text is not an unsigned duration, or the
    /// duration is longer than any `TimeSpan`.
    static let parse (text: string) : decimal voption =
        let rec read (at: int) (ticks: decimal) =
            if at = text.Length then
                ValueSome ticks
            else
                let mutable unitStart = at

                while unitStart < text.Length && isOfNumber text[unitStart] do
                    unitStart <- unitStart + 1

                let mutable next = unitStart

                while next < text.Length && not (isOfNumber text[next]) do
                    next <- next + 1

                let number = text.AsSpan(at, unitStart - at)
                let unit = ticksOfUnit (text.Substring(unitStart, next - unitStart))
                let mutable value = 0m

                let isNumber =
                    number.Length <= maxNumberLength
                    && Decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, &value)

                let limit = decimal Int64.MaxValue

                if unit = 0m || not isNumber || value > limit / unit then
                    ValueNone
                else
                    let ticks = ticks + value * unit
                    if ticks > limit then ValueNone else read next ticks

        if text = "0" then ValueSome 0m
        elif text = "" then ValueNone
        else read 0 0m

    static let number (value: decimal) = value.ToString("0.#########", CultureInfo.InvariantCulture)

    /// The longest duration that a configuration file may contain.
    static let maxInFile = TimeSpan.FromDays 3650.0

    /// Longer texts are not meant as durations.
    static let maxLengthInFile = 64

    /// Reads a duration, optionally with a sign. Truncates anything finer than 100 ns, a tick of `TimeSpan`. False when
    /// the text is not a duration, is out of the range of `TimeSpan`, or contains a number of more than 20 characters.
    static member TryParse(text: string, [<Out>] duration: byref<TimeSpan>) : bool =
        let isNegative = text.StartsWith '-'
        let isSigned = isNegative || text.StartsWith '+'

        match parse (if isSigned then text.Substring 1 else text) with
        | ValueSome ticks ->
            let ticks = int64 ticks
            duration <- TimeSpan.FromTicks(if isNegative then -ticks else ticks)
            true
        | ValueNone ->
            duration <- TimeSpan.Zero
            false

    /// As `TryParse`, but with the stricter rules of the configuration files: no sign, nothing finer than 100 ns, at
    /// most ten years.
    static member internal TryParseExact(text: string) : TimeSpan voption =
        if text.Length > maxLengthInFile then
            ValueNone
        else
            match parse text with
            | ValueSome ticks when Decimal.IsInteger ticks && ticks <= decimal maxInFile.Ticks ->
                ValueSome(TimeSpan.FromTicks(int64 ticks))
            | _ -> ValueNone

    /// As Go writes it: `0s`, `300ms`, `1m30s`.
    static member Format(duration: TimeSpan) : string =
        let text = StringBuilder()
        let ticks = abs (decimal duration.Ticks)

        if duration < TimeSpan.Zero then
            text.Append '-' |> ignore

        let append (value: decimal) (unit: string) =
            if value > 0m then
                text.Append(number value).Append(unit) |> ignore

        let second = decimal TimeSpan.TicksPerSecond
        let minute = decimal TimeSpan.TicksPerMinute
        let hour = decimal TimeSpan.TicksPerHour

        if ticks = 0m then
            text.Append "0s" |> ignore
        elif ticks < decimal TimeSpan.TicksPerMillisecond then
            append (ticks / 10m) "µs"
        elif ticks < second then
            append (ticks / decimal TimeSpan.TicksPerMillisecond) "ms"
        else
            append (Decimal.Floor(ticks / hour)) "h"
            append (Decimal.Floor(ticks % hour / minute)) "m"
            append (ticks % minute / second) "s"

        text.ToString()

    /// In seconds with at most seven decimals, as in proto3 JSON: `1.5s`.
    static member internal FormatSeconds(duration: TimeSpan) : string =
        number (decimal duration.Ticks / decimal TimeSpan.TicksPerSecond) + "s"
