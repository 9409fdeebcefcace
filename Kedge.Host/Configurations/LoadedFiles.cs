using Kedge.Domain;

namespace Kedge.Host.Configurations;

public sealed class LoadedFiles(Located<Director> director, Located<BackendPool> pool)
{
    public Located<Director> Director => director;

    public Located<BackendPool> Pool => pool;

    public static LoadedFiles Of(Configuration c) => new(new(c.Director, c.DirectorSource), new(c.Pool, c.PoolSource));
}
