using Kedge.Domain;

namespace Kedge.Host.Commands;

/// <summary>An explanation as text or JSON.</summary>
public static class ExplainText
{
    /// <param name="invocation">The command's invocation: its output and format.</param>
    /// <param name="configuration">The rules.</param>
    /// <param name="report">The explanation from the core.</param>
    /// <param name="withoutPool">Whether no backend pool was given, so that the backends are unknown.</param>
    /// <param name="connection">Lines about the given caller and certificates; empty without them.</param>
    public static void Write(
        Invocation invocation,
        Configuration configuration,
        ExplainReport report,
        bool withoutPool,
        IReadOnlyList<string> connection)
    {
        if (Report.IsJson(invocation))
        {
            WriteJson(invocation, configuration, report, withoutPool, connection);
        }
        else
        {
            WriteText(invocation, report, connection);
        }
    }

    /// <summary>The request in canonical form, with the scheme that was given.</summary>
    private static string RequestOf(Invocation invocation, ExplainReport report) =>
        RequestText.renderLike(invocation.Arguments[1], report.Explanation.Request);

    private static void WriteText(Invocation invocation, ExplainReport report, IReadOnlyList<string> connection)
    {
        var (output, paint) = (invocation.Output, invocation.Paint);
        output.WriteLine(RequestOf(invocation, report));
        foreach (var line in report.PassedLines)
        {
            output.WriteLine(paint.Faint($"  {line}"));
        }
        var colour = report.Winner is null ? (Func<string, string>)paint.Yellow : paint.Green;
        var first = true;
        foreach (var line in report.VerdictLines.Concat(connection))
        {
            output.WriteLine("  " + (first ? colour(line) : line));
            first = false;
        }
    }

    private static void WriteJson(
        Invocation invocation,
        Configuration configuration,
        ExplainReport report,
        bool withoutPool,
        IReadOnlyList<string> connection)
    {
        var explanation = report.Explanation;
        var protocol = explanation.Request.Protocol;
        var routes = configuration.Routes[protocol];
        var rules = configuration.AdhocRules[protocol];
        var adhoc = explanation.Verdict as Verdict.AdhocDecides;
        Report.WriteJson(invocation.Output, new
        {
            Request = RequestOf(invocation, report),
            Protocol = protocol.Section,
            Passed = explanation.Passed.Select(passed => Passed(protocol, "routes", routes, passed))
                .Concat((adhoc?.passed ?? []).Select(passed => Passed(protocol, "adhoc_rules", rules, passed))),
            Winner = report.Winner is { } winner ? Rule(protocol, "routes", winner) : null,
            Action = report.Winner?.ActionText,
            Backend = report.Winner is { BackendName: { Length: > 0 } backend } ? backend : null,
            Forwards = report.Forwards.Length == 0 ? null : report.Forwards,
            BackendKnown = report.Winner is not { Action.Backends.IsEmpty: false } || withoutPool
                ? (bool?)null
                : report.BackendKnown,
            Adhoc = adhoc is null ? null : Decision(protocol, rules, adhoc.decision),
            Rejected = explanation.Verdict.IsParametersDecide,
            Text = report.VerdictLines.Concat(connection),
        });
    }

    private static object Rule(Protocol protocol, string list, RouteInfo info) => new
    {
        info.File,
        info.Line,
        Path = $"$.{protocol.Section}.{list}[{info.Index}]",
        info.Rule,
    };

    private static object Passed(Protocol protocol, string list, IReadOnlyList<RouteInfo> infos, Passed passed) => new
    {
        Rule = Rule(protocol, list, infos[passed.Rule]),
        Reasons = passed.Mismatches.Select(mismatch => mismatch.Text),
    };

    private static object Decision(Protocol protocol, IReadOnlyList<RouteInfo> infos, AdhocDecision decision)
    {
        var (kind, rule, host, port) = decision switch
        {
            AdhocDecision.Target target => ("target", target.rule, target.dnsName, (int?)target.port),
            AdhocDecision.PortNotAllowed refused => ("port-not-allowed", refused.rule, null, refused.port),
            AdhocDecision.PatternAbsent absent => ("pattern-absent", absent.rule, null, null),
            AdhocDecision.NotAName not => ("not-a-name", not.rule, null, null),
            _ => ("no-rule", -1, (string?)null, (int?)null),
        };
        return new
        {
            Decision = kind,
            Rule = rule < 0 ? null : Rule(protocol, "adhoc_rules", infos[rule]),
            Host = host,
            Port = port,
        };
    }
}
