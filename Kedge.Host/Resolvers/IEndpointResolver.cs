namespace Kedge.Host.Resolvers;

/// <summary>Receives the results of a resolver. Safe to call from any thread.</summary>
public interface IEndpointSink
{
    /// <summary>The current endpoints, which replace the previous ones.</summary>
    void Resolved(IReadOnlyList<ResolvedEndpoint> endpoints);

    /// <summary>A lookup or watch failed. The last successful result stays in use.</summary>
    void Failed(string error);
}

/// <summary>Finds the endpoints of one backend and keeps them up to date.</summary>
public interface IEndpointResolver
{
    /// <summary>Runs until cancelled, independently of requests.</summary>
    Task RunAsync(IEndpointSink sink, CancellationToken stop);

    /// <summary>An error that currently prevents a result and was not reported to the sink; null = none.</summary>
    string? CurrentError => null;
}
