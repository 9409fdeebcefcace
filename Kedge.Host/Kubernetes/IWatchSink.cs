namespace Kedge.Host.Kubernetes;

/// <summary>Receives the objects of a watch. Called by one thread at a time.</summary>
internal interface IWatchSink<in T>
{
    /// <summary>The complete list. Known objects that are not in it are gone.</summary>
    void Replace(IReadOnlyList<T> all);

    /// <summary>An object was added or changed.</summary>
    void Upsert(T item);

    void Delete(T item);

    /// <summary>The API server cannot be reached, or rejects requests: no changes will arrive for now.</summary>
    void Failed()
    {
    }
}

/// <summary>Passes everything to each of several sinks.</summary>
internal sealed class CompositeSink<T>(params IWatchSink<T>[] sinks) : IWatchSink<T>
{
    public void Replace(IReadOnlyList<T> all) => Array.ForEach(sinks, sink => sink.Replace(all));

    public void Upsert(T item) => Array.ForEach(sinks, sink => sink.Upsert(item));

    public void Delete(T item) => Array.ForEach(sinks, sink => sink.Delete(item));

    public void Failed() => Array.ForEach(sinks, sink => sink.Failed());
}
