using Kedge.Host.Commands;

using var ignored = IgnoredSignals.ForEveryCommand();
return await CommandLine.RunAsync(
    CommandSet.Kedge, args, Console.Out, Console.Error, Paint.IsWanted(Console.IsOutputRedirected));
