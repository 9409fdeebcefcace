using System.Reflection;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Host.Server;

/// <summary>
/// Loads, before the server is ready, the code that requests need. Otherwise, a part of it would be loaded on first use
/// and, if no file can be opened at that moment, be missing from then on.
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

    /// <summary>Loads what the server, the forwarder, the client and the pages reference.</summary>
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
                // Referenced, but not part of the program on this system.
            }
        }
    }
}
