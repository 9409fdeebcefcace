namespace Kedge.Domain

/// The entries that discovery generates, in the shape of the files. They come after the files' own.
type GeneratedEntries =
    {
        HttpRoutes: Decoded.HttpRoute list
        GrpcRoutes: Decoded.GrpcRoute list
        Backends: PerProtocol<Decoded.Backend list>
    }

    static member Empty: GeneratedEntries =
        {
            HttpRoutes = []
            GrpcRoutes = []
            Backends = PerProtocol.Both []
        }
