using Kedge.Host.Authorization;
using Kedge.Host.Http;
using Kedge.Wire.Upstream;
using Microsoft.AspNetCore.Http.Features;

namespace Kedge.Host.Forwarding;

/// <summary>The trailers of a request.</summary>
internal static class RequestTrailers
{
    /// <summary>
    /// Reads the trailers to forward; null when there are none. The body must have been read to its end.
    /// </summary>
    public static FieldList? Read(HttpContext context, ForwardedClaims? claims)
    {
        if (context.Features.Get<IHttpRequestTrailersFeature>() is not { Available: true } feature
            || feature.Trailers.Count == 0)
        {
            return null;
        }
        var trailers = new FieldList();
        foreach (var (name, values) in feature.Trailers)
        {
            if (HeaderRules.OfRequest(name) != HeaderAction.Pass || !HeaderRules.IsTrailer(name))
            {
                continue;
            }
            // What a caller may not send in a header, it may not send in a trailer either.
            if (claims?.Drops(name, RequestToken.Of(context)) == true)
            {
                continue;
            }
            foreach (var value in values)
            {
                trailers.Add(name, value ?? "");
            }
        }
        return trailers.Count > 0 ? trailers : null;
    }
}
