using System.CommandLine;
using System.CommandLine.Invocation;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Commands;

/// <summary>Prints the version.</summary>
public sealed class VersionAction(string program) : SynchronousCommandLineAction
{
    public override bool Terminating => true;

    public override int Invoke(ParseResult parseResult)
    {
        parseResult.InvocationConfiguration.Output.WriteLine($"{program} {BuildInfo.Version}");
        return ExitCodes.Success;
    }
}
