using Kedge.Host.Commands;
using Kedge.Winch.Commands;

return await CommandLine.RunAsync(
    WinchCommands.Set, args, Console.Out, Console.Error, Paint.IsWanted(Console.IsOutputRedirected));
