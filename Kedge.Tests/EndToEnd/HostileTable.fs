/// The tables of testassets/hostile as values. Their README says what the lines mean.
module Kedge.Tests.EndToEnd.HostileTable

open System
open System.IO
open System.Text
open Kedge.Tests.Core

type HostileCase =
    {
        Name: string
        /// `>` lines, unescaped.
        Sent: string list
        /// Behind the headers of an HTTP/2 request.
        Data: string option
        /// Whether the client ends the connection after sending.
        IsCut: bool
        /// Alternatives: statuses in order, or `closed`, or `reset`.
        Answers: string list
        /// Request lines that the backend gets.
        Backend: string list
        /// Whether the backend may also get nothing.
        MayBeNothing: bool
        Route: string option
        Has: (string * string) list
        Lacks: string list
        Body: string option
    }

let private nothing name =
    {
        Name = name
        Sent = []
        Data = None
        IsCut = false
        Answers = []
        Backend = []
        MayBeNothing = false
        Route = None
        Has = []
        Lacks = []
        Body = None
    }

/// `\r \n \t \0 \\ \xHH \{text*N}`
let rec unescape (text: string) =
    let result = StringBuilder()
    let mutable at = 0

    while at < text.Length do
        if text[at] <> '\\' then
            result.Append text[at] |> ignore
            at <- at + 1
        else
            match text[at + 1] with
            | 'r' -> result.Append '\r' |> ignore
            | 'n' -> result.Append '\n' |> ignore
            | 't' -> result.Append '\t' |> ignore
            | '0' -> result.Append '\000' |> ignore
            | '\\' -> result.Append '\\' |> ignore
            | 'x' ->
                result.Append(char (Convert.ToInt32(text.Substring(at + 2, 2), 16))) |> ignore
                at <- at + 2
            | '{' ->
                let stop = text.IndexOf('}', at)
                let star = text.LastIndexOf('*', stop)
                let repeated = unescape (text.Substring(at + 2, star - at - 2))

                result.Insert(result.Length, repeated, int (text.Substring(star + 1, stop - star - 1)))
                |> ignore

                at <- stop - 1
            | other -> failwith $"\\{other} is no escape"

            at <- at + 2

    result.ToString()

let private split (separator: string) (text: string) =
    match text.IndexOf(separator, 1) with
    | -1 -> failwith $"no '{separator}' in '{text}'"
    | at -> text.Substring(0, at), text.Substring(at + separator.Length)

/// A header line of an HTTP/2 case. Pseudo headers start with a colon.
let field (line: string) = split ": " line

let private add (case: HostileCase) (line: string) =
    if line.StartsWith("> ", StringComparison.Ordinal) then
        { case with
            Sent = case.Sent @ [ unescape (line.Substring 2) ]
        }
    else
        let key, value = split ":" line
        let value = value.Trim()

        match key with
        | "answer" ->
            { case with
                Answers = value.Split('|', StringSplitOptions.TrimEntries) |> List.ofArray
            }
        | "backend" ->
            { case with
                Backend = case.Backend @ [ unescape value ]
            }
        | "backend?" ->
            { case with
                Backend = [ unescape value ]
                MayBeNothing = true
            }
        | "route" -> { case with Route = Some value }
        | "has" ->
            let name, content = split ":" value

            { case with
                Has = case.Has @ [ name, unescape (content.Trim()) ]
            }
        | "lacks" ->
            { case with
                Lacks = case.Lacks @ [ value ]
            }
        | "body" ->
            { case with
                Body = Some(unescape value)
            }
        | "data" ->
            { case with
                Data = Some(unescape value)
            }
        | "cut" -> { case with IsCut = true }
        | other -> failwith $"'{other}' is no key"

let private read (file: string) =
    let folder (cases: HostileCase list) (line: string) =
        if line.StartsWith("== ", StringComparison.Ordinal) then
            nothing (line.Substring 3) :: cases
        elif line = "" || line.StartsWith '#' then
            cases
        else
            match cases with
            | [] -> failwith $"{file}: '{line}' belongs to no case"
            | case :: others -> add case line :: others

    File.ReadAllLines file |> Array.fold folder [] |> List.rev

/// By the name of their file.
let all: (string * HostileCase list) list =
    Directory.GetFiles(SourceTree.path "Kedge.Tests/testassets/hostile", "*.txt")
    |> Array.sort
    |> Array.map (fun file -> string (Path.GetFileNameWithoutExtension file), read file)
    |> List.ofArray
