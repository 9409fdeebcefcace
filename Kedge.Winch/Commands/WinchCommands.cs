using Kedge.Host.Commands;

namespace Kedge.Winch.Commands;

/// <summary>The commands of <c>winch</c>.</summary>
public static class WinchCommands
{
    public static CommandSet Set { get; } = new(
        "winch",
        "local proxy to the services behind kedges",
        [
            new RunCommand(),
            new CheckCommand(),
            new ExplainCommand(),
            new LoginCommand(),
            new LogoutCommand(),
            new TokenCommand(),
            new StatusCommand(),
            new EnvCommand(),
            new ExecCommand(),
            new PacCommand(),
            new KubectlCredentialCommand(),
            new DemoCommand(),
        ]);
}
