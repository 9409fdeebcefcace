using Kedge.Host.Flags;
using Kedge.Winch.Proxying;
using Kedge.Winch.Settings;

namespace Kedge.Winch.Commands;

/// <summary>The variables that make programs use winch.</summary>
internal static class ProxyEnvironment
{
    /// <param name="port">The port of winch.</param>
    /// <param name="takesConnect">Whether some route accepts TLS, so that https URLs may go to winch.</param>
    /// <param name="password">The password that winch asks for; null = none.</param>
    public static IReadOnlyList<(string Name, string Value)> Variables(int port, bool takesConnect, string? password)
    {
        var proxy = password is null
            ? $"http://127.0.0.1:{port}"
            : $"http://{ClientCredentials.User}:{password}@127.0.0.1:{port}";
        const string own = "localhost,127.0.0.1,::1";
        List<(string, string)> variables =
        [
            // curl reads only the lower-case name, other programs the upper-case one.
            ("http_proxy", proxy),
            ("HTTP_PROXY", proxy),
            ("grpc_proxy", proxy),
            ("no_proxy", own),
            ("NO_PROXY", own),
            ("NODE_USE_ENV_PROXY", "1"),
        ];
        if (takesConnect)
        {
            variables.AddRange([("https_proxy", proxy), ("HTTPS_PROXY", proxy)]);
        }
        return variables;
    }

    public static IReadOnlyList<(string Name, string Value)> Variables(FlagValues flags, int port) => Variables(
        port,
        WinchSetup.Load(flags, out _)?.Mapper.Routes.Any(route => route.TakesConnect) ?? false,
        flags.Get(WinchFlags.ProxyCredentials) ? RunCommand.Password() : null);
}
