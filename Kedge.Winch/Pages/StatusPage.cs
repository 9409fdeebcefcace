using System.Text;
using Kedge.Client.Domain;
using Kedge.Host.Telemetry;
using Kedge.Winch.Proxying;
using Kedge.Winch.Sources;
using static System.Net.WebUtility;

namespace Kedge.Winch.Pages;

/// <summary>The parts that pages share.</summary>
internal static class Html
{
    public static string Page(string title, string content) => $$"""
        <!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{HtmlEncode(title)}} · winch</title>
        <meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
        <style>
        body { font: 15px/1.5 system-ui; max-width: 75em; margin: 2em auto; padding: 0 1em }
        table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3em .8em .3em 0; border-bottom: 1px solid #8884 }
        form { display: inline } code { font-size: .95em; overflow-wrap: anywhere } .bad { color: #c33 }
        </style></head><body>{{content}}</body></html>
        """;

    public static string Button(string action, string token, string text, string returnTo = "") => $"""
        <form method="post" action="{HtmlEncode(action)}"><input type="hidden" name="page_token" value="{token}">
        <input type="hidden" name="return_to" value="{HtmlEncode(returnTo)}"><button>{HtmlEncode(text)}</button></form>
        """;
}

/// <summary>The status page: the state of winch and its latest requests.</summary>
internal static class StatusPage
{
    public static string Render(
        WinchStates states,
        WinchMetrics metrics,
        KedgeConnections connections,
        PageSettings settings,
        string token,
        DateTimeOffset started,
        IQueryCollection query)
    {
        var state = states.Current;
        var text = new StringBuilder();
        text.Append(
            $"<h1>winch</h1><p>version {HtmlEncode(BuildInfo.Version)}, since {started:u}, port {settings.Port}</p>");
        if (states.Rejected.Count > 0)
        {
            text.Append(
                "<h2 class=\"bad\">The changed configuration is rejected; the previous one stays active</h2><ul>");
            foreach (var error in states.Rejected)
            {
                text.Append($"<li><code>{HtmlEncode(error)}</code></li>");
            }
            text.Append("</ul>");
        }
        Sources(text, state, token, query["login"].ToString(), query["return_to"].ToString());
        Routes(text, state);
        Kedges(text, connections);
        Latest(text, metrics);
        Pac(text, state, settings, query["test"].ToString());
        return Html.Page("Status", text.ToString());
    }

    private static void Sources(StringBuilder text, WinchState state, string token, string wanted, string returnTo)
    {
        text.Append("<h2>Auth sources</h2><table><tr><th>Name</th><th>State</th><th></th></tr>");
        foreach (var source in state.Sources.Values)
        {
            var oidc = source as OidcSource;
            var said = oidc is null ? "no login needed"
                : oidc.ExpiresAt is { } end ? $"valid until {end:u}"
                : oidc.Problem ?? "not used yet";
            var buttons = oidc is null
                ? ""
                : Html.Button($"/winch/login/{source.Name}", token, "Log in", source.Name == wanted ? returnTo : "")
                    + " "
                    + Html.Button($"/winch/logout/{source.Name}", token, "Log out");
            var mark = source.Name == wanted ? " ← log in here" : "";
            text.Append(
                $"<tr><td>{HtmlEncode(source.Name)}</td><td>{HtmlEncode(said)}</td><td>{buttons}{mark}</td></tr>");
        }
        text.Append("</table>");
    }

    private static void Routes(StringBuilder text, WinchState state)
    {
        text.Append(
            "<h2>Routes</h2><table><tr><th>#</th><th>Rule</th><th>Kedge</th><th>For the kedge</th>"
                + "<th>For the service</th></tr>");
        foreach (var route in state.Mapper.Routes)
        {
            text.Append(
                $"<tr><td>{route.Index}</td><td><code>{HtmlEncode(route.Text)}</code></td>"
                    + $"<td><code>{HtmlEncode(route.Destination)}</code></td>"
                + $"<td>{HtmlEncode(route.ProxyAuth)}</td><td>{HtmlEncode(route.BackendAuth)}</td></tr>");
        }
        text.Append("</table>");
    }

    private static void Kedges(StringBuilder text, KedgeConnections connections)
    {
        text.Append(
            "<h2>Kedges</h2><p>The latest attempt to connect to each kedge.</p><table><tr><th>Kedge</th><th>Time</th>"
                + "<th>Connection</th><th>Certificate valid until</th></tr>");
        foreach (var latest in connections.Latest)
        {
            var (mark, said) = latest.Problem is { } problem
                ? (" class=\"bad\"", problem)
                : ("", $"in {latest.Elapsed.TotalMilliseconds:0} ms");
            text.Append(
                $"<tr><td><code>{HtmlEncode(latest.Kedge)}</code></td><td>{latest.At:u}</td>"
                    + $"<td{mark}>{HtmlEncode(said)}</td><td>{latest.CertificateEnd:u}</td></tr>");
        }
        text.Append("</table>");
    }

    private static void Latest(StringBuilder text, WinchMetrics metrics)
    {
        text.Append(
            "<h2>Latest requests</h2><table><tr><th>Time</th><th>Request</th><th>Route</th><th>Kedge</th>"
                + "<th>Status</th><th>Error</th></tr>");
        foreach (var passed in metrics.Latest.Latest())
        {
            text.Append(
                $"<tr><td>{passed.At:HH:mm:ss}</td><td>{HtmlEncode(passed.Method)} {HtmlEncode(passed.Authority)}</td>"
                    + $"<td>{passed.Route}</td>"
                    + $"<td>{HtmlEncode(passed.Kedge)}</td><td>{passed.Status}</td>"
                    + $"<td>{HtmlEncode(passed.Error)}</td></tr>");
        }
        text.Append("</table>");
    }

    private static void Pac(StringBuilder text, WinchState state, PageSettings settings, string test)
    {
        text.Append(
            $"<h2>Browsers</h2><p>Automatic proxy configuration: <code>http://127.0.0.1:{settings.Port}/proxy.pac"
                + $"?v={Client.Domain.Pac.Version(state.Pac)}</code></p>"
                + $"<form method=\"get\"><label>Where does a URL go? <input name=\"test\" size=\"50\" "
                + $"value=\"{HtmlEncode(test)}\"></label> <button>Explain</button></form>");
        if (test.Length == 0)
        {
            return;
        }
        text.Append("<pre>");
        text.Append(
            HtmlEncode(
                Explanations.OfUrl(state.Mapper, test, isGrpc: false) is { } lines
                    ? string.Join('\n', lines)
                    : "this is not a URL"));
        text.Append("</pre>");
    }
}

/// <summary>Human-readable explanations.</summary>
internal static class Explanations
{
    /// <summary>Lines that say where a URL goes and why; null when it is not a URL.</summary>
    public static IReadOnlyList<string>? OfUrl(Mapper mapper, string url, bool isGrpc)
    {
        var text = url.Contains("://", StringComparison.Ordinal) ? url : $"http://{url}";
        if (!Uri.TryCreate(text, UriKind.Absolute, out var parsed)
            || parsed.Port <= 0 || !Target.TryCreate(parsed.IdnHost, parsed.Port, out var target))
        {
            return null;
        }
        var protocol = isGrpc ? Domain.Protocol.Grpc : Domain.Protocol.Http;
        var explanation = Explain.Of(mapper, protocol, target);
        var lines = new List<string> { $"{protocol.DisplayName} to {target.Authority}" };
        lines.AddRange(explanation.Steps.Select(step => $"  {step}"));
        switch (explanation.Decision)
        {
            case Decision.Kedge mapped:
                lines.Add($"kedge: {mapped.kedge.Url}");
                lines.Add(
                    $"for the kedge: {Named(mapped.route.ProxyAuth)}; "
                        + $"for the service: {Named(mapped.route.BackendAuth)}");
                break;
            case Decision.BadMapping:
                lines.Add("the request is rejected (bad-mapping)");
                break;
            default:
                lines.Add(isGrpc || mapper.RefusesUnmapped
                    ? "the request is rejected (not-a-kedge-destination)"
                    : "the request goes to the host itself, without credentials");
                break;
        }
        return lines;
    }

    private static string Named(string source) => source.Length == 0 ? "no credentials" : $"credentials of {source}";
}
