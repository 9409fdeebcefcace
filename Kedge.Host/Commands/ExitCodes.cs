namespace Kedge.Host.Commands;

public static class ExitCodes
{
    public const int Success = 0;

    /// <summary>The command was understood and failed: a port in use, errors found by a check.</summary>
    public const int Failure = 1;

    /// <summary>A flag, a file or the configuration is wrong; nothing was started.</summary>
    public const int Usage = 2;
}
