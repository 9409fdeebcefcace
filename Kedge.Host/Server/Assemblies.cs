using System.Reflection;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Server;

/// <summary>
/// Loads the code that requests need before the server is ready. Otherwise a part of it would be loaded when it is
/// first needed, and if no file can be opened at that moment, it would be missing from then on.
/// </summary>
internal static class Assemblies
{
    private static readonly Assembly[] Roots =
    [
        typeof(KestrelServerOptions).Assembly,
        typeof(IHttpForwarder).Assembly,
        typeof(HttpMessageInvoker).Assembly,
        typeof(Pages.Assets).Assembly,
    ];

    /// <summary>Loads what the server, the forwarder, the client and the pages refer to.</summary>
    public static void Load()
    {
        foreach (var name in Roots.SelectMany(root => root.GetReferencedAssemblies()))
        {
            try
            {
                Assembly.Load(name);
            }
            catch (Exception e) when (e is FileNotFoundException or FileLoadException or BadImageFormatException)
            {
                // Referred to, but not part of the program on this system.
            }
        }
    }
}
