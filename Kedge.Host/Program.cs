using Kedge.Host.Commands;

return await CommandLine.RunAsync(
    CommandSet.Kedge, args, Console.Out, Console.Error, Paint.IsWanted(Console.IsOutputRedirected));
