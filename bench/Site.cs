using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kedge.Bench;

/// <summary>Shared by all proxies: a scratch directory, the backends, the certificate and the gRPC request.</summary>
internal sealed class Site : IDisposable
{
    public Site()
    {
        Directory = System.IO.Directory.CreateTempSubdirectory("kedge-bench-").FullName;
        HttpBackend = Ports.Free();
        GrpcBackend = Ports.Free();

        // ECDSA P-256, as certificate authorities issue today.
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.CreateSelfSigned(
            DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddDays(1));
        Certificate = Write("server.crt", certificate.ExportCertificatePem());
        Key = Write("server.key", key.ExportPkcs8PrivateKeyPem() + "\n");
        File.WriteAllBytes(Path.Combine(Directory, "request.grpc"), [0, 0, 0, 0, 18, .. "\n\x10a request, unary"u8]);
        // Longer than what a backend accepts before it responds.
        File.WriteAllBytes(Path.Combine(Directory, "early.grpc"), [0, 0, 0, 128, 0, .. new byte[32 * 1024]]);
    }

    public string Directory { get; }

    public int HttpBackend { get; }

    public int GrpcBackend { get; }

    public string Certificate { get; }

    public string Key { get; }

    public string Write(string name, string text)
    {
        var file = Path.Combine(Directory, name);
        File.WriteAllText(file, text.EndsWith('\n') ? text : text + "\n");
        return file;
    }

    /// <summary>Runs a function that needs a site whose backends are up.</summary>
    /// <returns>The exit code that the function returns.</returns>
    public static async Task<int> WithBackendsAsync(Func<Site, Task<int>> run)
    {
        using var site = new Site();
        var backend = Processes.Start(
            [Environment.ProcessPath!, "backend", $"{site.HttpBackend}", $"{site.GrpcBackend}"],
            Path.Combine(site.Directory, "backend.log"));
        try
        {
            await Ports.WaitForAsync(site.HttpBackend, "the backend");
            await Ports.WaitForAsync(site.GrpcBackend, "the backend");
            return await run(site);
        }
        finally
        {
            await Processes.StopAsync(backend);
        }
    }

    public void Dispose() => System.IO.Directory.Delete(Directory, recursive: true);
}
