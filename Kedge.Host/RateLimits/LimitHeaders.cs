using System.Globalization;
using System.Text;
using Kedge.Domain;
using Kedge.Host.Http;

namespace Kedge.Host.RateLimits;

/// <summary>
/// Reports to a caller what its rate limits are and still allow: RateLimit-Policy and RateLimit of
/// draft-ietf-httpapi-ratelimit-headers. Only for routes that ask for it.
/// </summary>
internal sealed class LimitHeaders
{
    private readonly StringBuilder _policy = new();
    private readonly StringBuilder _state = new();

    /// <param name="context">The request.</param>
    /// <param name="limits">The limits of the request's route.</param>
    /// <param name="asked">Which of them were checked; the others do not apply to the request.</param>
    /// <param name="shares">What this replica allows, for each limit that was checked.</param>
    /// <param name="buckets">The bucket of each after the request.</param>
    /// <param name="now">The time of the decision.</param>
    public static void Add(
        HttpContext context,
        ActiveLimit[] limits,
        ReadOnlySpan<int> asked,
        ReadOnlySpan<Gcra> shares,
        ReadOnlySpan<long> buckets,
        long now)
    {
        var headers = context.Features.Get<LimitHeaders>();
        if (headers is null)
        {
            headers = new LimitHeaders();
            context.Features.Set(headers);
            // At the last moment: kedge's own replies clear the headers first.
            context.Response.OnStarting(
                static state =>
                {
                    var context = (HttpContext)state;
                    context.Features.Get<LimitHeaders>()!.Write(context.Response.Headers);
                    return Task.CompletedTask;
                },
                context);
        }
        for (var i = 0; i < asked.Length; i++)
        {
            if (!limits[asked[i]].IsShadow)
            {
                headers.Append(limits[asked[i]].Limit, shares[i], buckets[i], now);
            }
        }
    }

    private void Append(RateLimit limit, Gcra share, long bucket, long now)
    {
        var separator = _policy.Length == 0 ? "" : ", ";
        _policy.Append(CultureInfo.InvariantCulture, $"{separator}\"{limit.Name}\";q={limit.Limit}");
        if (limit.Period.Ticks % TimeSpan.TicksPerSecond == 0)
        {
            _policy.Append(CultureInfo.InvariantCulture, $";w={limit.Period.Ticks / TimeSpan.TicksPerSecond}");
        }
        var remaining = share.Remaining(bucket, now);
        var left = Math.Max(0, bucket - now);
        var reset = left / 1_000_000_000 + (left % 1_000_000_000 > 0 ? 1 : 0);
        _state.Append(CultureInfo.InvariantCulture, $"{separator}\"{limit.Name}\";r={remaining};t={reset}");
    }

    private void Write(IHeaderDictionary headers)
    {
        if (_policy.Length > 0)
        {
            headers[ProxyHeaders.RateLimitPolicy] = _policy.ToString();
            headers[ProxyHeaders.RateLimit] = _state.ToString();
        }
    }
}
