using System.Runtime.InteropServices;
using System.Text.Json.Serialization;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Debug;

/// <summary>The version of kedge, as JSON.</summary>
public sealed class VersionPage(DateTimeOffset started) : IDebugPage
{
    public string Path => "/_version";

    public Task AnswerAsync(HttpContext context) => PageResponse.JsonAsync(
        context,
        new Answer(
            BuildInfo.Version, BuildInfo.Version, BuildInfo.Commit, RuntimeInformation.FrameworkDescription, started));

    /// <param name="BuildVersion">Under the key that scripts for the Go implementation of kedge read.</param>
    private sealed record Answer(
        [property: JsonPropertyName("build_version")] string BuildVersion,
        string Version,
        string Commit,
        string Runtime,
        DateTimeOffset Started);
}
