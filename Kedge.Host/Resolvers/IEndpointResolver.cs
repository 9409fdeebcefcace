namespace Kedge.Host.Resolvers;

/// <summary>Where a resolver puts what it learns. Safe to call from any thread.</summary>
public interface IEndpointSink
{
    /// <summary>The endpoints now. They replace the former ones.</summary>
    void Resolved(IReadOnlyList<ResolvedEndpoint> endpoints);

    /// <summary>A lookup or watch failed; the last good answer stays in use.</summary>
    void Failed(string error);
}

/// <summary>Finds the endpoints of one backend, and keeps finding them.</summary>
public interface IEndpointResolver
{
    /// <summary>Runs until cancelled. Never on the path of a request.</summary>
    Task RunAsync(IEndpointSink sink, CancellationToken stop);

    /// <summary>What keeps it from an answer at this moment, beyond what the sink has been told; null = nothing is known.</summary>
    string? Trouble => null;
}
