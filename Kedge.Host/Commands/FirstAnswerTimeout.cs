using Kedge.Domain;
using Kedge.Host.Flags;
using Kedge.Host.Kubernetes;

namespace Kedge.Host.Commands;

/// <summary>How long a command with --once waits for its first answer.</summary>
internal static class FirstAnswerTimeout
{
    public static readonly Flag<TimeSpan> Flag = new()
    {
        Name = "timeout",
        Group = FlagGroup.Command,
        Type = FlagTypes.Duration,
        Default = TimeSpan.FromSeconds(30),
        Help = "with --once: how long to wait for the first answer",
    };

    /// <summary>Reports that nothing arrived in time, with the reason if a watch knows one.</summary>
    /// <param name="missing">What the command waited for.</param>
    public static async Task<int> ReportAsync(Invocation invocation, string missing, KubernetesCluster cluster)
    {
        var reason = cluster.Watches.Select(watch => watch.Error).FirstOrDefault(error => error is not null)
            ?? "no answer";
        var timeout = Duration.Format(invocation.Flags.Get(Flag));
        await invocation.Error.WriteLineAsync($"kedge: no {missing} within {timeout}: {reason}");
        return ExitCodes.Failure;
    }
}
