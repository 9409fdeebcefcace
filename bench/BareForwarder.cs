using System.Diagnostics;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Yarp.ReverseProxy.Forwarder;

namespace Kedge.Bench;

/// <summary>
/// The smallest program that uses YARP's direct forwarder, without routes, checks, headers of its own or logging.
/// Its cost is the cost of the framework; any cost beyond that is kedge's own.
/// </summary>
internal static class BareForwarder
{
    public static async Task<int> RunAsync(
        int tlsPort, int grpcTlsPort, int httpBackend, int grpcBackend, string certificateFile, string keyFile)
    {
        using var pem = X509Certificate2.CreateFromPemFile(certificateFile, keyFile);
        using var certificate = X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);

        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, tlsPort, listen => listen.UseHttps(certificate));
            kestrel.Listen(IPAddress.Loopback, grpcTlsPort, listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                listen.UseHttps(certificate);
            });
        });
        builder.Services.AddHttpForwarder();

        await using var app = builder.Build();
        var forwarder = app.Services.GetRequiredService<IHttpForwarder>();
        using var client = new HttpMessageInvoker(new SocketsHttpHandler
        {
            UseProxy = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            UseCookies = false,
            EnableMultipleHttp2Connections = true,
            ActivityHeadersPropagator = new ReverseProxyPropagator(DistributedContextPropagator.Current),
            ConnectTimeout = TimeSpan.FromSeconds(15),
        });

        var http = new ForwarderRequestConfig
        {
            Version = HttpVersion.Version11,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
        var grpc = http with { Version = HttpVersion.Version20 };
        var httpPrefix = $"http://127.0.0.1:{httpBackend}";
        var grpcPrefix = $"http://127.0.0.1:{grpcBackend}";
        app.Run(async context =>
        {
            if (context.Connection.LocalPort == grpcTlsPort)
            {
                await forwarder.SendAsync(context, grpcPrefix, client, grpc, HttpTransformer.Default);
            }
            else
            {
                await forwarder.SendAsync(context, httpPrefix, client, http, HttpTransformer.Default);
            }
        });
        await app.RunAsync();
        return 0;
    }
}
