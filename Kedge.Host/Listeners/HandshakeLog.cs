namespace Kedge.Host.Listeners;

/// <summary>
/// The server's loggers. Watches the one that receives the causes of failed handshakes, which the server publishes
/// nowhere else.
/// </summary>
internal sealed class HandshakeLog(ILoggerFactory inner) : ILoggerFactory
{
    private const string Category = "Microsoft.AspNetCore.Server.Kestrel.Https.Internal.HttpsConnectionMiddleware";

    public ILogger CreateLogger(string categoryName) =>
        categoryName == Category ? new Watched(inner.CreateLogger(categoryName)) : inner.CreateLogger(categoryName);

    public void AddProvider(ILoggerProvider provider) => inner.AddProvider(provider);

    public void Dispose()
    {
        // The owner of the inner factory disposes of it.
    }

    private sealed class Watched(ILogger inner) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => inner.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel,
            EventId eventId,
            TState state,
            Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            if (exception is not null)
            {
                Handshakes.Failed(exception);
            }
            if (inner.IsEnabled(logLevel))
            {
                inner.Log(logLevel, eventId, state, exception, formatter);
            }
        }
    }
}
