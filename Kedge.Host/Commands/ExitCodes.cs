namespace Kedge.Host.Commands;

public static class ExitCodes
{
    public const int Success = 0;

    /// <summary>The command ran and failed: for example, a port is in use or a check found errors.</summary>
    public const int Failure = 1;

    /// <summary>A flag, a file or the configuration is invalid; nothing was started.</summary>
    public const int Usage = 2;
}
