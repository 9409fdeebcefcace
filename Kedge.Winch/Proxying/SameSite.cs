using Kedge.Client.Domain;
using Kedge.Domain;
using Microsoft.Net.Http.Headers;

namespace Kedge.Winch.Proxying;

/// <summary>
/// Recognises requests that a browser makes for a page of another site. winch adds the user's credentials, so the page
/// would act with them (a confused deputy), and the browser's cookie rules do not prevent that.
/// </summary>
internal static class SameSite
{
    /// <summary>The site that makes the request, if it is another one; null when the request is fine.</summary>
    /// <param name="headers">The headers of the request.</param>
    /// <param name="isGet">Whether the method is GET.</param>
    /// <param name="target">The target of the request.</param>
    /// <param name="mapper">All hosts that it maps count as one site: they are only the user's own services.</param>
    /// <remarks>
    /// Browsers send Sec-Fetch-Site (W3C Fetch Metadata) to https and local URLs only. Otherwise Origin decides, which
    /// comes with each WebSocket and with each request except plain GETs; for these, Referer decides.
    /// </remarks>
    public static string? Stranger(IHeaderDictionary headers, bool isGet, Target target, Mapper mapper)
    {
        var isNavigation = isGet && (headers["Sec-Fetch-Mode"] == "navigate"
            ? headers["Sec-Fetch-Dest"] == "document"
            : headers["Sec-Fetch-Mode"].Count == 0 && headers[HeaderNames.UpgradeInsecureRequests] == "1");
        if (headers["Sec-Fetch-Site"].ToString() is { Length: > 0 } site)
        {
            return site == "cross-site" && !isNavigation
                ? headers.Origin.ToString() is { Length: > 0 } from
                    ? from
                    : site
                : null;
        }
        var origin = headers.Origin.ToString();
        if (origin.Length > 0)
        {
            return IsOwn(origin, target, mapper) ? null : origin;
        }
        var referer = headers.Referer.ToString();
        return referer.Length == 0 || isNavigation || IsOwn(referer, target, mapper) ? null : referer;
    }

    private static bool IsOwn(string url, Target target, Mapper mapper) =>
        Uri.TryCreate(url, UriKind.Absolute, out var page)
        && Target.TryCreate(page.IdnHost, page.Port, out var host)
        && (host.Host == target.Host || mapper.Decide(Protocol.Http, host).IsMapped);
}
