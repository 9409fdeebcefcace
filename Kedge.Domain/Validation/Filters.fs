namespace Kedge.Domain

/// The changes that a route makes to the requests that it forwards, and to their responses. Routes match a request as
/// the caller sent it.
type Filters =
    {
        Path: PathReplacement option
        /// The host, optionally with a port, that the backend sees; empty = the host that the caller sent.
        Host: string
        /// Whether references to the changed host and path in responses are changed back (see `ReverseLocation`).
        ReverseLocation: bool
        /// In the order in which they apply: removals, then replacements, then additions.
        RequestHeaders: HeaderChange list
        /// The same for responses of the backend.
        ResponseHeaders: HeaderChange list
    }

    static member None: Filters =
        {
            Path = None
            Host = ""
            ReverseLocation = false
            RequestHeaders = []
            ResponseHeaders = []
        }

    /// Whether nothing is changed.
    member filters.IsNone: bool = (filters = Filters.None)

    /// Whether a header of the request or response contains the subject of the caller's token.
    member filters.NamesSubject: bool =
        filters.RequestHeaders @ filters.ResponseHeaders
        |> List.exists (fun change ->
            match change with
            | RemoveHeader _ -> false
            | SetHeader(_, value)
            | AddHeader(_, value) -> List.contains (Variable TokenSubject) value.Parts)

    /// These changes, followed by the header changes of `next`.
    member filters.Then(next: Filters) : Filters =
        { filters with
            RequestHeaders = filters.RequestHeaders @ next.RequestHeaders
            ResponseHeaders = filters.ResponseHeaders @ next.ResponseHeaders
        }

    /// The path that the backend sees.
    member filters.Forth(path: string) : string =
        match filters.Path with
        | Some change -> change.Of path
        | None -> path

    /// The request as the backend sees it, on one line: `GET /v1/x, Host shop.internal, x-env: prod`. Of the headers,
    /// only those that the route changes. `query` includes its `?`.
    member filters.Describe(route: string, method: string, host: string, path: string, query: string) : string =
        let value (value: HeaderValue) =
            let known: HeaderValue =
                {
                    Parts =
                        value.Parts
                        |> List.map (fun part ->
                            match part with
                            | Variable RouteName when route <> "" -> Literal route
                            | Variable RequestHost when host <> "" -> Literal host
                            | part -> part)
                }

            known.Text

        let isAbsent (value: HeaderValue) = route = "" && List.contains (Variable RouteName) value.Parts

        [
            $"{method} {filters.Forth path}{query}"

            if filters.Host <> "" then
                $"Host {filters.Host}"

            for change in filters.RequestHeaders do
                match change with
                | RemoveHeader name -> $"without {name}"
                | SetHeader(name, text)
                | AddHeader(name, text) when isAbsent text -> $"without {name}"
                | SetHeader(name, text) -> $"{name}: {value text}"
                | AddHeader(name, text) -> $"also {name}: {value text}"
        ]
        |> String.concat ", "
