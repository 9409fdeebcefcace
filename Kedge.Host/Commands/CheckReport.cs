using Kedge.Domain;
using Kedge.Host.Listeners;

namespace Kedge.Host.Commands;

/// <summary>The result of <c>kedge check</c>, as text or JSON.</summary>
/// <param name="configuration">Null when the files have errors.</param>
/// <param name="unreadable">A line for each file that cannot be read.</param>
/// <param name="mistakes">Errors in the other files.</param>
/// <param name="findings">The findings of the analysis, errors first.</param>
public sealed class CheckReport(
    Configuration? configuration,
    IReadOnlyList<string> unreadable,
    IReadOnlyList<ConfigError> mistakes,
    IReadOnlyList<Finding> findings)
{
    public int Errors => unreadable.Count + mistakes.Count + Count(Severity.Error);

    public int Warnings => Count(Severity.Warning);

    public void Write(Invocation invocation)
    {
        if (Report.IsJson(invocation))
        {
            WriteJson(invocation.Output);
        }
        else
        {
            WriteText(invocation.Output, invocation.Paint);
        }
    }

    private void WriteText(TextWriter output, Paint paint)
    {
        foreach (var line in unreadable.Concat(mistakes.Select(ConfigErrorModule.describe)))
        {
            output.WriteLine(line);
        }
        foreach (var finding in findings)
        {
            var place = finding.Line > 0 ? $"{finding.File}:{finding.Line}: {finding.Path}"
                : finding.Path.Length > 0 ? finding.Path
                : finding.File;
            var severity = finding.Severity switch
            {
                Severity.Error => paint.Red("error"),
                Severity.Warning => paint.Yellow("warning"),
                _ => paint.Cyan("note"),
            };
            output.WriteLine($"{place}: {severity} {finding.Kind}: {finding.Message}");
            foreach (var witness in finding.Witnesses)
            {
                output.WriteLine(paint.Faint($"    {witness}"));
            }
            WriteCure(output, paint, finding);
        }
        var size = configuration is null
            ? ""
            : $"{Numbers(configuration.Routes, "route")}, {Numbers(configuration.Backends, "backend")}: ";
        var verdict = $"{Number(Errors, "error")}, {Number(Warnings, "warning")}";
        output.WriteLine(
            size + (Errors > 0 ? paint.Red(verdict) : Warnings > 0 ? paint.Yellow(verdict) : paint.Green(verdict)));
    }

    private static void WriteCure(TextWriter output, Paint paint, Finding finding)
    {
        if (finding.Cure.Length == 0)
        {
            return;
        }
        output.WriteLine($"    cure: {finding.Cure}");
        foreach (var difference in finding.CureDifferences)
        {
            output.WriteLine(paint.Faint($"      {difference.Witness}"));
            output.WriteLine(paint.Faint($"        went to {difference.WitnessBefore}"));
            output.WriteLine(paint.Faint($"        goes to {difference.WitnessAfter}"));
        }
    }

    private void WriteJson(TextWriter output) => Report.WriteJson(output, new
    {
        Errors,
        Warnings,
        HttpRoutes = configuration?.Routes.Http.Count ?? 0,
        GrpcRoutes = configuration?.Routes.Grpc.Count ?? 0,
        HttpBackends = configuration?.Backends.Http.Count ?? 0,
        GrpcBackends = configuration?.Backends.Grpc.Count ?? 0,
        Findings = unreadable.Select(Unreadable).Concat(mistakes.Select(Mistake)).Concat(findings.Select(Entry)),
    });

    private static JsonFinding Unreadable(string line) => new("error", "unreadable-file", "", 0, 0, "", line, []);

    private static JsonFinding Mistake(ConfigError mistake) => new(
        "error", ConfigErrorModule.kind(mistake), mistake.At.File, mistake.At.Line, mistake.At.Column,
        JsonPathModule.render(mistake.At.Path), ProblemModule.describe(mistake.Problem), []);

    private static JsonFinding Entry(Finding finding) => new(
        finding.Severity.ToString().ToLowerInvariant(), finding.Kind, finding.File, finding.Line, finding.Column,
        finding.Path, finding.Message, finding.Witnesses)
    {
        Cure = finding.Cure.Length == 0 ? null : new JsonCure(
            finding.Cure,
            finding.CureDifferences.Select(static moved => new JsonMove(
                moved.Witness, moved.WitnessBefore, moved.WitnessAfter))),
    };

    private int Count(Severity severity) => findings.Count(finding => finding.Severity == severity);

    private static string Numbers<T>(PerProtocol<IReadOnlyList<T>> lists, string noun) => string.Join(
        ", ", lists.Pairs.Select(pair => Number(pair.Item2.Count, $"{pair.Item1.DisplayName} {noun}")));

    private static string Number(int count, string noun) => $"{count} {noun}{(count == 1 ? "" : "s")}";

    /// <param name="Severity">error, warning or info.</param>
    /// <param name="Line">From 1; 0 when there is none. The same holds for the column.</param>
    private sealed record JsonFinding(
        string Severity, string Kind, string File, int Line, int Column, string Path, string Message,
        IReadOnlyList<string> Witnesses)
    {
        /// <summary>Null when no move of a route fixes it.</summary>
        public JsonCure? Cure { get; init; }
    }

    private sealed record JsonCure(string Text, IEnumerable<JsonMove> Differences);

    private sealed record JsonMove(string Request, string RequestBefore, string RequestAfter);
}
