namespace Kedge.Host.Resolvers;

/// <summary>Receives the results of a resolver. Safe to call from any thread.</summary>
public interface IEndpointSink
{
    /// <summary>The current endpoints, which replace the previous ones.</summary>
    /// <param name="endpoints">Empty = none is ready.</param>
    /// <param name="areTerminating">
    /// Whether the endpoints are a last resort: none is ready, and these are terminating.
    /// </param>
    void Resolved(IReadOnlyList<ResolvedEndpoint> endpoints, bool areTerminating = false);

    /// <summary>
    /// The target that the backend names does not exist, or no longer does. The parts of a change can arrive one after
    /// the other, so the previous endpoints may stay in use for a moment.
    /// </summary>
    /// <param name="reason">What is missing.</param>
    void Missing(string reason);

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
