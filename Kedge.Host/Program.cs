using Kedge.Host.Commands;
using Kedge.Host.Server;

RuntimeSettings.Apply();
return await CommandLine.RunAsync(args, Console.Out, Console.Error, Paint.IsWanted(Console.IsOutputRedirected));
