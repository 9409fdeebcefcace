using Kedge.Host.Commands;

using var ignored = IgnoredSignals.ForEveryCommand();
return await CommandLine.RunAsync(args, Console.Out, Console.Error, Paint.IsWanted(Console.IsOutputRedirected));
