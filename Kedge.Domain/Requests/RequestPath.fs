namespace Kedge.Domain

open System
open System.Buffers

/// The one canonical form of a request's path, which is both matched and forwarded. See docs/matching.md.
///
/// Rules guard prefixes of this form. So two paths that a backend may treat as one resource should have one form, and a
/// path that cannot be made safe is rejected:
/// - the path starts with `/`; dot segments, plain or written with `%2e`, are removed, and `..` at the root has no
///   effect (RFC 3986, 5.2.4); empty segments are dropped, so `//` is `/`;
/// - an escaped character that needs no escape in a segment is unescaped (`%61` is `a`, `%3A` is `:`), except `%2B` and
///   `%3B`: some backends read a bare `+` as a space and `;` as the start of a path parameter;
/// - every other escape stays, in upper case: `%2F` and `%5C` are characters of a segment, never separators, and `%25`
///   stays as it is, so nothing is unescaped twice;
/// - printable ASCII that a path must not contain (`"<>[]^{|}` and the backquote) is escaped;
/// - rejected are: invalid escapes; control characters, even escaped; unescaped spaces, backslashes and non-ASCII
///   characters; `?` and `#`; overlong UTF-8 (`%C0%AE`); and dot segments that only a careless backend would see: next
///   to an escaped separator (`..%2F`) or before a path parameter (`..;a=b`).
///
/// The path `*` of `OPTIONS *` is canonical as a whole.
[<RequireQualifiedAccess>]
module RequestPath =

    let private unreserved =
        "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"

    /// The characters that a segment of a canonical path contains unescaped (RFC 3986, 3.3: pchar).
    let private segmentCharacters = unreserved + "!$&'()*+,;=:@"

    /// A path of these characters alone needs no closer look. A `;` or `%` needs one.
    let private plain = SearchValues.Create(unreserved + "!$&'()*+,=:@/")

    let private table (characters: string) = Array.init 128 (fun code -> characters.Contains(char code))

    let private needsNoEscape = table (segmentCharacters + "/")

    let private isUnescaped =
        table (segmentCharacters.Replace("+", "").Replace(";", ""))

    let private hexDigit (c: char) =
        if c >= '0' && c <= '9' then int c - int '0'
        elif c >= 'A' && c <= 'F' then int c - int 'A' + 10
        elif c >= 'a' && c <= 'f' then int c - int 'a' + 10
        else -1

    /// The octet of the escape that starts at `at`; -1 when there is no valid one.
    let private octetAt (path: ReadOnlySpan<char>) (at: int) =
        if at + 2 < path.Length && path[at] = '%' then
            let high = hexDigit path[at + 1]
            let low = hexDigit path[at + 2]
            if high < 0 || low < 0 then -1 else high * 16 + low
        else
            -1

    /// Whether the octet starts a UTF-8 sequence that is longer than its character needs.
    let private startsOverlong (octet: int) (next: int) =
        octet = 0xC0
        || octet = 0xC1
        || (octet = 0xE0 && next >= 0x80 && next < 0xA0)
        || (octet = 0xF0 && next >= 0x80 && next < 0x90)

    let private isDots (text: ReadOnlySpan<char>) =
        (text.Length = 1 && text[0] = '.')
        || (text.Length = 2 && text[0] = '.' && text[1] = '.')

    /// Whether a careless backend may see a `.` or `..` in the segment: to such a backend an escaped separator ends a
    /// segment, and what follows a `;` is a parameter.
    let private hidesDots (segment: ReadOnlySpan<char>) =
        let mutable found = false
        let mutable start = 0
        let mutable finish = -1
        let mutable i = 0

        while i < segment.Length do
            let octet = octetAt segment i

            if (segment[i] = ';' || octet = int ';') && finish < 0 then
                finish <- i
            elif octet = int '/' || octet = int '\\' then
                let length = (if finish < 0 then i else finish) - start
                found <- found || isDots (segment.Slice(start, length))
                start <- i + 3
                finish <- -1

            i <- i + (if octet >= 0 then 3 else 1)

        let length = (if finish < 0 then segment.Length else finish) - start
        found || isDots (segment.Slice(start, length))

    [<Literal>]
    let private NoSlash = -1

    [<Literal>]
    let private BadEscape = -2

    [<Literal>]
    let private Control = -3

    [<Literal>]
    let private BadCharacter = -4

    [<Literal>]
    let private Overlong = -5

    [<Literal>]
    let private HiddenDots = -6

    let private describe (failure: int) =
        match failure with
        | NoSlash -> "the path does not start with `/`"
        | BadEscape -> "the path has a `%` without two hexadecimal digits"
        | Control -> "the path has a control character"
        | BadCharacter -> "the path has a space, `\\`, `?`, `#` or a non-ASCII character that is not escaped"
        | Overlong -> "the path has an overlong UTF-8 sequence"
        | _ -> "the path has a dot segment next to an escaped separator or before a `;`"

    let private writeEscape (octet: int) (buffer: Span<char>) =
        buffer[0] <- '%'
        buffer[1] <- "0123456789ABCDEF"[octet >>> 4]
        buffer[2] <- "0123456789ABCDEF"[octet &&& 15]

    /// Writes one segment, from `start` up to `finish`, with its escapes in canonical form. Yields the number of
    /// characters written, or a failure.
    let private writeSegment (path: ReadOnlySpan<char>) (start: int) (finish: int) (buffer: Span<char>) : int =
        let mutable written = 0
        let mutable failure = 0
        let mutable i = start

        while failure = 0 && i < finish do
            let c = path[i]

            if c = '%' then
                let octet = octetAt path i

                if octet < 0 then
                    failure <- BadEscape
                elif octet < 0x20 || octet = 0x7F then
                    failure <- Control
                elif startsOverlong octet (octetAt path (i + 3)) then
                    failure <- Overlong
                elif octet < 128 && isUnescaped[octet] then
                    buffer[written] <- char octet
                    written <- written + 1
                else
                    writeEscape octet (buffer.Slice written)
                    written <- written + 3

                i <- i + 3
            else
                if c < ' ' || c = '\127' then
                    failure <- Control
                elif c > '~' || c = ' ' || c = '\\' || c = '?' || c = '#' then
                    failure <- BadCharacter
                elif needsNoEscape[int c] then
                    buffer[written] <- c
                    written <- written + 1
                else
                    writeEscape (int c) (buffer.Slice written)
                    written <- written + 3

                i <- i + 1

        if failure = 0 then written else failure

    /// Writes the canonical form and yields its length, or a failure. The buffer is at least three times as long as the
    /// path.
    let private write (path: ReadOnlySpan<char>) (buffer: Span<char>) : int =
        if path.Length = 0 || path[0] <> '/' then
            NoSlash
        else
            // The output so far always ends in the `/` that precedes the next segment.
            buffer[0] <- '/'
            let mutable length = 1
            let mutable failure = 0
            let mutable start = 1

            while failure = 0 && start <= path.Length do
                let next = path.Slice(start).IndexOf '/'
                let finish = if next < 0 then path.Length else start + next
                let written = writeSegment path start finish (buffer.Slice length)

                if written < 0 then
                    failure <- written
                elif written > 0 then
                    let segment: ReadOnlySpan<char> =
                        Span<char>.op_Implicit(buffer.Slice(length, written))

                    if isDots segment then
                        if written = 2 && length > 1 then
                            length <- buffer.Slice(0, length - 1).LastIndexOf '/' + 1
                    elif hidesDots segment then
                        failure <- HiddenDots
                    else
                        length <- length + written

                        if next >= 0 then
                            buffer[length] <- '/'
                            length <- length + 1

                start <- finish + 1

            if failure = 0 then length else failure

    /// Whether the path needs no closer look: the usual case, and a vectorised check.
    let private isPlain (path: ReadOnlySpan<char>) =
        path.Length > 0
        && path[0] = '/'
        && not (path.ContainsAnyExcept plain)
        && path.IndexOf("//".AsSpan()) < 0
        && path.IndexOf("/.".AsSpan()) < 0

    let private isAsterisk (path: ReadOnlySpan<char>) = path.Length = 1 && path[0] = '*'

    let private rewrite (path: string) : Result<string, string> =
        let buffer = ArrayPool<char>.Shared.Rent(3 * path.Length + 1)

        try
            let length = write (path.AsSpan()) (Span buffer)

            if length < 0 then
                Error(describe length)
            else
                let canonical = ReadOnlySpan(buffer, 0, length)

                Ok(
                    if canonical.SequenceEqual(path.AsSpan()) then
                        path
                    else
                        canonical.ToString()
                )
        finally
            ArrayPool<char>.Shared.Return buffer

    /// The canonical form of an origin-form path (without query), or the error in words. Returns the same string,
    /// without allocating, when it is already canonical.
    let canonicalise (path: string) : Result<string, string> =
        let text = path.AsSpan()

        if isPlain text || isAsterisk text then
            Ok path
        else
            rewrite path

    /// Whether the path is its own canonical form. Never allocates.
    let isCanonical (path: ReadOnlySpan<char>) : bool =
        if isPlain path || isAsterisk path then
            true
        else
            let buffer = ArrayPool<char>.Shared.Rent(3 * path.Length + 1)

            try
                let length = write path (Span buffer)
                length >= 0 && path.SequenceEqual(ReadOnlySpan(buffer, 0, length))
            finally
                ArrayPool<char>.Shared.Return buffer

    /// Where the parameters of a segment start: at a `;`, plain or escaped. Its length when it has none.
    let private parametersAt (segment: ReadOnlySpan<char>) : int =
        let plain = segment.IndexOf ';'
        let escaped = segment.IndexOf("%3B".AsSpan(), StringComparison.Ordinal)

        if plain < 0 && escaped < 0 then segment.Length
        elif plain < 0 then escaped
        elif escaped < 0 then plain
        else min plain escaped

    /// Whether a canonical path has path parameters. Never allocates.
    let hasParameters (path: ReadOnlySpan<char>) : bool = parametersAt path < path.Length

    /// The canonical path as seen by a backend that removes path parameters, from a `;` to the end of the segment:
    /// `/a/;x/b;v=1/c` is `/a/b/c`. Servlet containers match their own rules against this form. Returns the same string
    /// when there is nothing to remove.
    let withoutParameters (path: string) : string =
        if not (hasParameters (path.AsSpan())) then
            path
        else
            let segments =
                path.Split '/'
                |> Array.map (fun segment -> segment.Substring(0, parametersAt (segment.AsSpan())))

            // Segments that consisted of parameters only are now empty; segments that would become dots were rejected.
            match canonicalise (String.Join('/', segments)) with
            | Ok canonical -> canonical
            | Error _ -> path
