using System.Text.Json;
using Kedge.Host.Debug;
using Kedge.Pages;

namespace Kedge.Host.Commands;

/// <summary>Shows what a running kedge says about a request that it has served.</summary>
internal static class ServedRequestText
{
    /// <param name="invocation">The command's invocation.</param>
    /// <param name="server">The debug port of the running kedge.</param>
    /// <param name="id">The ID of the request, as in <c>X-Kedge-Request-ID</c> and in log lines.</param>
    public static async Task<int> ShowAsync(Invocation invocation, Uri server, string id)
    {
        List<string> errors = [];
        using var port = await DebugPortClient.OpenAsync(server, invocation.Flags, errors);
        if (errors.Count > 0)
        {
            return invocation.Refuse(errors);
        }
        var page = $"/debug/explain?request={Uri.EscapeDataString(id)}";
        var (view, problem) = await port.AskAsync<ExplainView>(page);
        if (view is null)
        {
            invocation.Error.WriteLine($"{invocation.Program}: {port.UrlOf(page)}: {problem}");
            return ExitCodes.Failure;
        }
        if (Report.IsJson(invocation))
        {
            invocation.Output.WriteLine(JsonSerializer.Serialize(view, PageResponse.SnakeCase));
            return ExitCodes.Success;
        }
        var paint = invocation.Paint;
        invocation.Output.WriteLine(view.Lines.FirstOrDefault(""));
        foreach (var line in view.Lines.Skip(1))
        {
            invocation.Output.WriteLine($"  {line}");
        }
        var color = view.VerdictTone switch
        {
            Tone.Good => (Func<string, string>)paint.Green,
            _ => paint.Yellow,
        };
        invocation.Output.WriteLine(color(view.Verdict));
        return ExitCodes.Success;
    }
}
