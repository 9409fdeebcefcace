using System.Diagnostics;
using System.Globalization;

namespace Kedge.Bench;

/// <summary>A running proxy under measurement.</summary>
internal sealed class Proxy : IAsyncDisposable
{
    private readonly Process _process;

    private Proxy(string name, Process process, int tlsPort, int grpcTlsPort, int debugPort)
    {
        Name = name;
        _process = process;
        TlsPort = tlsPort;
        GrpcTlsPort = grpcTlsPort;
        DebugPort = debugPort;
    }

    public string Name { get; }

    public int TlsPort { get; }

    public int GrpcTlsPort { get; }

    /// <summary>Kedge's debug port; other proxies do not listen on it.</summary>
    public int DebugPort { get; }

    public TimeSpan CpuTime => ProcessTree.CpuTime(_process);

    public long ResidentBytes => ProcessTree.ResidentBytes(_process);

    /// <summary>Null when the program is not installed.</summary>
    public static async Task<Proxy?> StartAsync(string name, RunOptions options, Site site)
    {
        var (tls, grpcTls, debug) = (Ports.Free(), Ports.Free(), Ports.Free());
        var command = name switch
        {
            "bare" => Words(
                Environment.ProcessPath!,
                "bare",
                tls,
                grpcTls,
                site.HttpBackend,
                site.GrpcBackend,
                site.Certificate,
                site.Key),
            "kedge" => KedgeCommand([options.Kedge], options, site, tls, grpcTls, debug),
            "haproxy" => HaproxyCommand(site, tls, grpcTls),
            "nginx" => NginxCommand(site, tls, grpcTls),
            "caddy" => CaddyCommand(site, tls, grpcTls),
            // env(1) sets the variables that precede the file.
            _ when options.Variants.TryGetValue(name, out var words) => KedgeCommand(
                ["env", .. words.Select(word => word.Replace("{http}", $"{site.HttpBackend}"))],
                options,
                site,
                tls,
                grpcTls,
                debug),
            _ => throw new ArgumentException($"unknown proxy {name}"),
        };

        if (command is null)
        {
            return null;
        }

        var process = Processes.Start(command, Path.Combine(site.Directory, name + ".log"));
        var proxy = new Proxy(name, process, tls, grpcTls, debug);
        try
        {
            await Ports.WaitForAsync(tls, name);
            await Ports.WaitForAsync(grpcTls, name);
            return proxy;
        }
        catch
        {
            await proxy.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Processes.StopAsync(_process);
    }

    private static string[] Words(params object[] words) =>
        [.. words.Select(word => Convert.ToString(word, CultureInfo.InvariantCulture)!)];

    private static string[] KedgeCommand(
        string[] start, RunOptions options, Site site, int tls, int grpcTls, int debug)
    {
        var director = site.Write("director.json", """
            { "http": { "routes": [ { "backend_name": "http" } ] }, "grpc": { "routes": [ { "backend_name": "grpc" } ] } }
            """);
        var pool = site.Write("backendpool.json", $$"""
            { "http": { "backends": [ { "name": "http", "host": { "dns_name": "127.0.0.1", "port": {{site.HttpBackend}} } } ] },
              "grpc": { "backends": [ { "name": "grpc", "host": { "dns_name": "127.0.0.1", "port": {{site.GrpcBackend}} } } ] } }
            """);
        return
        [
            .. start,
            "--server_bind_address=127.0.0.1",
            $"--server_http_tls_port={tls}",
            $"--server_grpc_tls_port={grpcTls}",
            $"--server_http_port={debug}",
            $"--server_tls_cert_file={site.Certificate}",
            $"--server_tls_key_file={site.Key}",
            $"--kedge_config_director_config_path={director}",
            $"--kedge_config_backendpool_config_path={pool}",
            .. options.KedgeFlags,
        ];
    }

    private static string[]? HaproxyCommand(Site site, int tls, int grpcTls)
    {
        if (Processes.Find("haproxy") is not { } haproxy)
        {
            return null;
        }

        // HAProxy wants the certificate and the key in one file.
        var pem = site.Write("haproxy.pem", File.ReadAllText(site.Certificate) + File.ReadAllText(site.Key));
        var configuration = site.Write("haproxy.cfg", $$"""
            global
              nbthread 2
              maxconn 4096
              tune.h2.max-concurrent-streams 100
            defaults
              mode http
              timeout connect 5s
              timeout client 60s
              timeout server 60s
              option forwardfor
              http-reuse always
            frontend https
              bind 127.0.0.1:{{tls}} ssl crt {{pem}} alpn h2,http/1.1
              default_backend http
            frontend grpc
              bind 127.0.0.1:{{grpcTls}} ssl crt {{pem}} alpn h2
              default_backend grpc
            backend http
              server s 127.0.0.1:{{site.HttpBackend}}
            backend grpc
              server s 127.0.0.1:{{site.GrpcBackend}} proto h2

            """);
        return [haproxy, "-db", "-f", configuration];
    }

    private static string[]? CaddyCommand(Site site, int tls, int grpcTls)
    {
        if (Processes.Find("caddy") is not { } caddy)
        {
            return null;
        }

        var configuration = site.Write("Caddyfile", $$"""
            {
              admin off
              auto_https off
              log {
                level ERROR
              }
              servers {
                protocols h1 h2
              }
            }
            https://:{{tls}} {
              bind 127.0.0.1
              tls {{site.Certificate}} {{site.Key}}
              reverse_proxy http://127.0.0.1:{{site.HttpBackend}}
            }
            https://:{{grpcTls}} {
              bind 127.0.0.1
              tls {{site.Certificate}} {{site.Key}}
              reverse_proxy h2c://127.0.0.1:{{site.GrpcBackend}}
            }

            """);
        // Caddy's state is for this run only.
        return
        [
            "env",
            $"XDG_DATA_HOME={site.Directory}",
            $"XDG_CONFIG_HOME={site.Directory}",
            caddy,
            "run",
            "--adapter",
            "caddyfile",
            "--config",
            configuration,
        ];
    }

    private static string[]? NginxCommand(Site site, int tls, int grpcTls)
    {
        if (Processes.Find("nginx") is not { } nginx)
        {
            return null;
        }

        var configuration = site.Write("nginx.conf", $$"""
            daemon off;
            worker_processes 2;
            pid {{site.Directory}}/nginx.pid;
            error_log {{site.Directory}}/nginx.error.log;
            events { worker_connections 2048; }
            http {
              access_log off;
              client_body_temp_path {{site.Directory}}/nginx-body;
              proxy_temp_path {{site.Directory}}/nginx-proxy;
              fastcgi_temp_path {{site.Directory}}/nginx-fastcgi;
              uwsgi_temp_path {{site.Directory}}/nginx-uwsgi;
              scgi_temp_path {{site.Directory}}/nginx-scgi;
              keepalive_requests 1000000;
              ssl_certificate {{site.Certificate}};
              ssl_certificate_key {{site.Key}};
              upstream http_backend { server 127.0.0.1:{{site.HttpBackend}}; keepalive 64; keepalive_requests 1000000; }
              upstream grpc_backend { server 127.0.0.1:{{site.GrpcBackend}}; keepalive 64; keepalive_requests 1000000; }
              server {
                listen 127.0.0.1:{{tls}} ssl http2;
                location / {
                  proxy_pass http://http_backend;
                  proxy_http_version 1.1;
                  proxy_set_header Connection "";
                  proxy_set_header Host $http_host;
                  proxy_set_header X-Forwarded-For $remote_addr;
                }
              }
              server {
                listen 127.0.0.1:{{grpcTls}} ssl http2;
                location / { grpc_pass grpc://grpc_backend; }
              }
            }

            """);
        var log = Path.Combine(site.Directory, "nginx.error.log");
        return [nginx, "-p", site.Directory, "-e", log, "-c", configuration];
    }
}
