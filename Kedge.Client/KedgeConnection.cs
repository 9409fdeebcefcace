namespace Kedge.Client;

/// <summary>The result of an attempt to connect to a kedge.</summary>
/// <param name="Kedge">Its host and port.</param>
/// <param name="At">When the attempt ended.</param>
/// <param name="Elapsed">The time for TCP and TLS together.</param>
/// <param name="CertificateEnd">When its certificate expires; null = it sent none.</param>
/// <param name="Problem">Why there is no connection; null = there is one.</param>
public sealed record KedgeConnection(
    string Kedge, DateTimeOffset At, TimeSpan Elapsed, DateTimeOffset? CertificateEnd, string? Problem);
