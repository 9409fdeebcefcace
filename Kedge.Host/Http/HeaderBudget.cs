namespace Kedge.Host.Http;

/// <summary>Charges connections for the headers of the requests that are in flight on them.</summary>
internal static class HeaderBudget
{
    // Requests that are not charged: the limit on the headers of one request bounds these few.
    private const int FreeRequests = 8;

    /// <param name="connection">Null = unknown, and without a budget.</param>
    /// <param name="inFlight">Requests in flight on the connection, including this one.</param>
    /// <param name="held">What to release when the request ends.</param>
    /// <returns>False when the budget is used up.</returns>
    public static bool TryCharge(
        ICallerConnection? connection, int inFlight, IHeaderDictionary headers, out long held)
    {
        held = 0;
        if (connection is null || inFlight <= FreeRequests)
        {
            return true;
        }
        var size = SizeOf(headers);
        if (!connection.TryHold(size))
        {
            return false;
        }
        held = size;
        return true;
    }

    /// <summary>Releases what a request holds.</summary>
    /// <param name="connection">Null = unknown.</param>
    /// <param name="inFlight">The same value as when the request was charged.</param>
    /// <param name="headers">The headers of the request.</param>
    /// <param name="held">What the request was charged.</param>
    public static void Release(ICallerConnection? connection, int inFlight, IHeaderDictionary headers, long held)
    {
        if (inFlight > FreeRequests)
        {
            // The server keeps a stream for some seconds after its end, and reuses some streams for later requests.
            headers.Clear();
        }
        connection?.RequestEnded(held);
    }

    /// <summary>In bytes of UTF-16, with the overhead of RFC 7541, 4.1, for each field.</summary>
    private static long SizeOf(IHeaderDictionary headers)
    {
        const int overhead = 32;
        long size = 0;
        foreach (var (name, values) in headers)
        {
            foreach (var value in values)
            {
                size += ((long)(name.Length + (value?.Length ?? 0)) * sizeof(char)) + overhead;
            }
        }
        return size;
    }
}
