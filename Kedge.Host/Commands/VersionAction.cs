using System.CommandLine;
using System.CommandLine.Invocation;
using Kedge.Host.Telemetry;

namespace Kedge.Host.Commands;

/// <summary>Prints the version.</summary>
public sealed class VersionAction : SynchronousCommandLineAction
{
    public override bool Terminating => true;

    public override int Invoke(ParseResult parseResult)
    {
        parseResult.InvocationConfiguration.Output.WriteLine($"kedge {BuildInfo.Version}");
        return ExitCodes.Success;
    }
}
