using Kedge.Client;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Kedge for clients of <c>IHttpClientFactory</c>, and for gRPC clients of <c>AddGrpcClient</c>.</summary>
public static class KedgeHttpClientBuilderExtensions
{
    /// <summary>Sends the requests of this client through kedges, as the mapper decides.</summary>
    public static IHttpClientBuilder UseKedge(
        this IHttpClientBuilder builder, IKedgeMapper mapper, KedgeHandlerOptions? options = null) =>
        builder.UseKedge(_ => mapper, options);

    /// <summary>Like the other overload, with a mapper from the services.</summary>
    public static IHttpClientBuilder UseKedge(
        this IHttpClientBuilder builder,
        Func<IServiceProvider, IKedgeMapper> mapper,
        KedgeHandlerOptions? options = null) =>
        builder
            .ConfigurePrimaryHttpMessageHandler(services => new KedgeHandler(mapper(services), options))
            // The handler follows DNS by itself, and its connections are worth keeping.
            .SetHandlerLifetime(Timeout.InfiniteTimeSpan);
}
