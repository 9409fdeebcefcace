namespace Kedge.Client;

/// <summary>How an attempt to connect to a kedge ended.</summary>
/// <param name="Kedge">Its host and port.</param>
/// <param name="At">When the attempt ended.</param>
/// <param name="Elapsed">For TCP and TLS together.</param>
/// <param name="CertificateEnd">Until when its certificate is valid; null = it sent none.</param>
/// <param name="Problem">Why there is no connection; null = there is one.</param>
public sealed record KedgeConnection(
    string Kedge, DateTimeOffset At, TimeSpan Elapsed, DateTimeOffset? CertificateEnd, string? Problem);
