using Kedge.Host.Commands;

return await CommandLine.RunAsync(args, Console.Out, Console.Error, Paint.IsWanted(Console.IsOutputRedirected));
