using System.Runtime.InteropServices;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Debug;

/// <summary>The version of kedge, as JSON.</summary>
public sealed class VersionPage(DateTimeOffset started) : IDebugPage
{
    public string Path => "/_version";

    public Task AnswerAsync(HttpContext context) => PageResponse.JsonAsync(context, new
    {
        BuildInfo.Version,
        BuildInfo.Commit,
        Runtime = RuntimeInformation.FrameworkDescription,
        Started = started,
    });
}
