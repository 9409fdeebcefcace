using System.Globalization;
using Kedge.Domain;
using Kedge.Pages;

namespace Kedge.Host.Debug;

/// <summary>One route: <c>?protocol=http&amp;index=3</c>.</summary>
public sealed class RoutePage(DebugFacts facts) : IDebugPage
{
    public string Path => "/debug/route";

    public Task AnswerAsync(HttpContext context) =>
        PageResponse.ViewAsync(context, View(context.Request.Query), RouteHtml.render);

    private RouteDetailView View(IQueryCollection query)
    {
        var protocol = query["protocol"].ToString() == Protocol.Grpc.Section ? Protocol.Grpc : Protocol.Http;
        var routes = facts.Router.Serving.Routes[protocol];
        if (!int.TryParse(query["index"], NumberStyles.None, CultureInfo.InvariantCulture, out var index)
            || index >= routes.Length)
        {
            return new RouteDetailView(facts.Server, [], TrafficViews.Of([]), []);
        }
        var route = routes[index];
        var counters = facts.Telemetry.Backends.FirstOrDefault(
            backend => backend.Protocol.Equals(protocol) && backend.Name == route.Info.BackendName);
        return new RouteDetailView(
            facts.Server,
            [RouteViews.Of(protocol, route)],
            TrafficViews.Of(counters is null ? [] : facts.History.Of(counters)),
            // A reload creates another object for the same route, so the rule's text decides.
            [
                .. from request in facts.Telemetry.Requests.Latest()
                   where request.Protocol.Equals(protocol)
                       && request.Rule?.Info is { } rule
                       && rule.Rule == route.Info.Rule
                       && rule.BackendName == route.Info.BackendName
                   select RequestViews.Of(request),
            ]);
    }
}
