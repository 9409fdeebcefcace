namespace Kedge.Host.Server;

/// <summary>Settings of the runtime that no runtimeconfig.json can hold. The others are in runtimeconfig.template.json.</summary>
internal static class RuntimeSettings
{
    private const string InlineCompletions = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";

    /// <summary>
    /// To be called before the first socket is made. What waits for a socket goes on where the socket's event was seen, not
    /// on a thread of the pool: for a proxy, whose steps are short and never block, this saves a change of threads at each
    /// step (docs/performance.md). A value that the environment has already stands.
    /// </summary>
    public static void Apply()
    {
        if (Environment.GetEnvironmentVariable(InlineCompletions) is null)
        {
            Environment.SetEnvironmentVariable(InlineCompletions, "1");
        }
    }
}
