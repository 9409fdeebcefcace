namespace Kedge.Domain

open System
open System.Text
open System.Text.Json

/// A JSON value and its position in the file.
[<ReferenceEquality>]
type internal JsonNode =
    {
        /// Offset of its first byte.
        Start: int
        /// Offset after its last byte.
        End: int
        Value: JsonValue
    }

and [<NoEquality; NoComparison>] internal JsonValue =
    | JsonNull
    | JsonBool of bool
    /// As written in the file; it may have any size.
    | JsonNumber of string
    | JsonString of string
    | JsonArray of JsonNode array
    | JsonObject of JsonMember array

and [<Struct; NoEquality; NoComparison>] internal JsonMember =
    {
        Name: string
        /// Offset of the name's quotation mark.
        NameStart: int
        Node: JsonNode
    }

/// The bytes of a file (without byte order mark), with positions in lines and columns.
[<Sealed>]
type internal JsonText(bytes: ReadOnlyMemory<byte>) =

    let bytes =
        if bytes.Span.StartsWith(ReadOnlySpan [| 0xEFuy; 0xBBuy; 0xBFuy |]) then
            bytes.Slice 3
        else
            bytes

    let lineStarts =
        let starts = ResizeArray [ 0 ]
        let mutable at = bytes.Span.IndexOf 10uy

        while at >= 0 do
            let next = starts[starts.Count - 1] + at + 1
            starts.Add next
            at <- bytes.Span.Slice(next).IndexOf 10uy

        starts.ToArray()

    // A file may be one long line with an error at each character, so columns must not be counted from the line's start
    // each time: the UTF-8 continuation bytes before each block are counted once.
    let blockSize = 1024

    let continuations =
        lazy
            (let counts = Array.zeroCreate (bytes.Length / blockSize + 1)

             for block in 1 .. counts.Length - 1 do
                 let span = bytes.Span.Slice((block - 1) * blockSize, blockSize)
                 counts[block] <- counts[block - 1] + JsonText.Continuations span

             counts)

    /// Bytes of the form 10xxxxxx before the offset.
    let continuationsBefore (offset: int) =
        let block = offset / blockSize
        let start = block * blockSize

        continuations.Value[block]
        + JsonText.Continuations(bytes.Span.Slice(start, offset - start))

    static member private Continuations(span: ReadOnlySpan<byte>) : int =
        let mutable count = 0

        for b in span do
            if b &&& 0xC0uy = 0x80uy then
                count <- count + 1

        count

    member _.Bytes = bytes
    member _.Length = bytes.Length

    /// From 1.
    member _.Line(offset: int) : int =
        let found = Array.BinarySearch(lineStarts, offset)
        if found >= 0 then found + 1 else ~~~found

    /// From 1, in characters (Unicode code points).
    member text.Column(offset: int) : int =
        let start = lineStarts[text.Line offset - 1]
        offset - start + 1 - (continuationsBefore offset - continuationsBefore start)

    /// The offset of a position that the JSON reader reports; both numbers start at 0.
    member _.Offset(line: int64, byteInLine: int64) : int =
        let line = int (min (max line 0L) (int64 (lineStarts.Length - 1)))
        int (min (int64 lineStarts[line] + max byteInLine 0L) (int64 bytes.Length))

    /// The text between two offsets, for a message.
    member _.Excerpt(start: int, stop: int) : string =
        if start >= bytes.Length then
            "end of the file"
        else
            // At most three bytes for each UTF-16 code unit: enough for the longest excerpt.
            let stop = min stop (min bytes.Length (start + 300))
            Excerpt.ofText (Encoding.UTF8.GetString(bytes.Span.Slice(start, stop - start)))

/// Why a file is not JSON: only one problem, because the text after it cannot be read.
[<Struct>]
type internal JsonFault = { Offset: int; Detail: string }

/// JSON with comments and trailing commas, read into a tree whose values know their positions.
[<RequireQualifiedAccess>]
module internal Json =

    /// The files have at most eight levels. Nesting deeper than this is rejected, so that reading needs little stack.
    let private maxDepth = 64

    exception private Unreadable of offset: int * detail: string

    let private advance (reader: byref<Utf8JsonReader>) =
        if not (reader.Read()) then
            raise (Unreadable(int reader.BytesConsumed, "the file ends too early"))

    /// A text can be invalid even in well-formed JSON: an escape may name half of a surrogate pair.
    let private readText (reader: byref<Utf8JsonReader>) : string =
        let start = int reader.TokenStartIndex

        try
            match reader.GetString() with
            | null -> ""
            | text -> text
        with :? InvalidOperationException ->
            raise (Unreadable(start, "the text has an escape that is not a character"))

    let rec private readValue (reader: byref<Utf8JsonReader>, depth: int) : JsonNode =
        let start = int reader.TokenStartIndex

        if depth > maxDepth then
            raise (Unreadable(start, $"nested deeper than {maxDepth} levels"))

        let value =
            match reader.TokenType with
            | JsonTokenType.StartObject ->
                let members = ResizeArray()
                advance &reader

                while reader.TokenType <> JsonTokenType.EndObject do
                    let nameStart = int reader.TokenStartIndex
                    let name = readText &reader
                    advance &reader

                    members.Add
                        {
                            Name = name
                            NameStart = nameStart
                            Node = readValue (&reader, depth + 1)
                        }

                    advance &reader

                JsonObject(members.ToArray())
            | JsonTokenType.StartArray ->
                let items = ResizeArray()
                advance &reader

                while reader.TokenType <> JsonTokenType.EndArray do
                    items.Add(readValue (&reader, depth + 1))
                    advance &reader

                JsonArray(items.ToArray())
            | JsonTokenType.String -> JsonString(readText &reader)
            | JsonTokenType.Number -> JsonNumber(Encoding.UTF8.GetString reader.ValueSpan)
            | JsonTokenType.True -> JsonBool true
            | JsonTokenType.False -> JsonBool false
            | _ -> JsonNull

        {
            Start = start
            End = int reader.BytesConsumed
            Value = value
        }

    let private firstInvalid (bytes: ReadOnlySpan<byte>) : int =
        let mutable at = 0
        let mutable valid = true

        while valid && at < bytes.Length do
            let mutable rune = Rune()
            let mutable consumed = 0

            if Rune.DecodeFromUtf8(bytes.Slice at, &rune, &consumed) = Buffers.OperationStatus.Done then
                at <- at + consumed
            else
                valid <- false

        at

    let private isBlank (bytes: ReadOnlySpan<byte>) = bytes.IndexOfAnyExcept(ReadOnlySpan " \t\r\n"B) < 0

    /// The reader's own message, without the position, which the error already contains, and without the rest of the
    /// file, which the reader quotes when a literal is misspelt.
    let private detailOf (problem: JsonException) =
        let message = problem.Message
        let place = message.LastIndexOf(" LineNumber:", StringComparison.Ordinal)

        let message =
            (if place > 0 then message.Substring(0, place) else message).TrimEnd '.'

        let literal =
            message.LastIndexOf("' is an invalid JSON literal", StringComparison.Ordinal)

        let message =
            if literal > 0 then
                "this" + message.Substring(literal + 1)
            else
                message

        String.map (fun c -> if Char.IsControl c then ' ' else c) message

    let private options =
        JsonReaderOptions(CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, MaxDepth = 1000)

    /// Whether the file contains nothing but comments and white space.
    let private hasNoValue (bytes: ReadOnlySpan<byte>) =
        try
            let options = JsonReaderOptions(CommentHandling = JsonCommentHandling.Allow)
            let mutable reader = Utf8JsonReader(bytes, false, JsonReaderState options)
            let mutable comments = true

            while comments && reader.Read() do
                comments <- reader.TokenType = JsonTokenType.Comment

            comments && isBlank (bytes.Slice(int reader.BytesConsumed))
        with :? JsonException ->
            false

    /// Never throws, whatever the bytes are.
    let parse (text: JsonText) : Result<JsonNode, JsonFault> =
        let fault offset detail =
            Error
                {
                    Offset = offset
                    Detail = $"{detail} ({text.Excerpt(offset, offset + 30)})"
                }

        let bytes = text.Bytes.Span

        if not (Unicode.Utf8.IsValid bytes) then
            let offset = firstInvalid bytes

            Error
                {
                    Offset = offset
                    Detail = $"the file is not UTF-8 text (byte 0x{bytes[offset]:X2})"
                }
        elif isBlank bytes || hasNoValue bytes then
            Error
                {
                    Offset = 0
                    Detail = "the file has no content; write {} for one without entries (empty)"
                }
        else
            try
                let mutable reader = Utf8JsonReader(bytes, options)
                advance &reader
                let root = readValue (&reader, 1)
                // Nothing but comments may follow: the reader throws on anything else.
                reader.Read() |> ignore
                Ok root
            with
            | :? JsonException as problem ->
                let offset =
                    text.Offset(problem.LineNumber.GetValueOrDefault(), problem.BytePositionInLine.GetValueOrDefault())

                if isBlank (text.Bytes.Span.Slice offset) then
                    fault text.Length "the file ends too early: something is not closed"
                else
                    fault offset (detailOf problem)
            | Unreadable(offset, detail) -> fault offset detail
