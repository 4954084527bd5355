# Answers what the page asks for: files of assets/ under https://appassets.androidplatform.net/, and
# 404 for everything else. The host's name is reserved for this by Android; nothing is ever sent to
# it.
#
# final class Site extends WebViewClient

.class final Lpggan/app/Site;
.super Landroid/webkit/WebViewClient;

.field final assets:Landroid/content/res/AssetManager;


.method constructor <init>(Landroid/content/res/AssetManager;)V
    .registers 2
    invoke-direct {p0}, Landroid/webkit/WebViewClient;-><init>()V
    iput-object p1, p0, Lpggan/app/Site;->assets:Landroid/content/res/AssetManager;
    return-void
.end method


# Return whether an address is the page's own: its scheme is https and its host the reserved one,
# without a port or user.
.method static owns(Landroid/net/Uri;)Z
    .registers 3
    const-string v0, "https"
    invoke-virtual {p0}, Landroid/net/Uri;->getScheme()Ljava/lang/String;
    move-result-object v1
    invoke-virtual {v0, v1}, Ljava/lang/String;->equals(Ljava/lang/Object;)Z
    move-result v0
    if-eqz v0, :done
    const-string v0, "appassets.androidplatform.net"
    invoke-virtual {p0}, Landroid/net/Uri;->getAuthority()Ljava/lang/String;
    move-result-object v1
    invoke-virtual {v0, v1}, Ljava/lang/String;->equals(Ljava/lang/Object;)Z
    move-result v0
    :done
    return v0
.end method


# Return the answer to a request, or null for data: and blob: addresses, which the WebView holds
# itself.
.method public shouldInterceptRequest(Landroid/webkit/WebView;Landroid/webkit/WebResourceRequest;)Landroid/webkit/WebResourceResponse;
    .registers 12
    invoke-interface {p2}, Landroid/webkit/WebResourceRequest;->getUrl()Landroid/net/Uri;
    move-result-object v0
    invoke-virtual {v0}, Landroid/net/Uri;->getScheme()Ljava/lang/String;
    move-result-object v1
    const-string v2, "data"
    invoke-virtual {v2, v1}, Ljava/lang/String;->equals(Ljava/lang/Object;)Z
    move-result v2
    if-nez v2, :own
    const-string v2, "blob"
    invoke-virtual {v2, v1}, Ljava/lang/String;->equals(Ljava/lang/Object;)Z
    move-result v2
    if-nez v2, :own

    invoke-static {v0}, Lpggan/app/Site;->owns(Landroid/net/Uri;)Z
    move-result v1
    if-eqz v1, :missing
    # Decoded: %2e%2e is .. here.
    invoke-virtual {v0}, Landroid/net/Uri;->getPath()Ljava/lang/String;
    move-result-object v1
    if-eqz v1, :missing
    const-string v2, "/"
    invoke-virtual {v2, v1}, Ljava/lang/String;->equals(Ljava/lang/Object;)Z
    move-result v3
    if-eqz v3, :named
    const-string v1, "/index.html"
    :named
    invoke-virtual {v1, v2}, Ljava/lang/String;->startsWith(Ljava/lang/String;)Z
    move-result v3
    if-eqz v3, :missing
    const/4 v3, 0x1
    invoke-virtual {v1, v3}, Ljava/lang/String;->substring(I)Ljava/lang/String;
    move-result-object v1
    invoke-virtual {v1, v2}, Ljava/lang/String;->startsWith(Ljava/lang/String;)Z
    move-result v3
    if-nez v3, :missing
    const-string v2, ".."
    invoke-virtual {v1, v2}, Ljava/lang/String;->contains(Ljava/lang/CharSequence;)Z
    move-result v3
    if-nez v3, :missing

    :open_start
    iget-object v2, p0, Lpggan/app/Site;->assets:Landroid/content/res/AssetManager;
    invoke-virtual {v2, v1}, Landroid/content/res/AssetManager;->open(Ljava/lang/String;)Ljava/io/InputStream;
    move-result-object v8
    :open_end
    .catch Ljava/io/IOException; {:open_start .. :open_end} :missing
    invoke-static {v1}, Lpggan/app/Site;->typeOf(Ljava/lang/String;)Ljava/lang/String;
    move-result-object v3
    const/16 v5, 0xc8
    const-string v6, "OK"

    # Text is UTF-8; other files have no character set.
    :answer
    const/4 v4, 0x0
    const-string v2, "text/"
    invoke-virtual {v3, v2}, Ljava/lang/String;->startsWith(Ljava/lang/String;)Z
    move-result v2
    if-eqz v2, :headers
    const-string v4, "utf-8"
    :headers
    # A new version of the app has new files under the same names.
    const-string v2, "Cache-Control"
    const-string v7, "no-cache"
    invoke-static {v2, v7}, Ljava/util/Collections;->singletonMap(Ljava/lang/Object;Ljava/lang/Object;)Ljava/util/Map;
    move-result-object v7
    new-instance v2, Landroid/webkit/WebResourceResponse;
    invoke-direct/range {v2 .. v8}, Landroid/webkit/WebResourceResponse;-><init>(Ljava/lang/String;Ljava/lang/String;ILjava/lang/String;Ljava/util/Map;Ljava/io/InputStream;)V
    return-object v2

    :missing
    const-string v3, "text/plain"
    const/16 v5, 0x194
    const-string v6, "Not Found"
    const/4 v2, 0x0
    new-array v2, v2, [B
    new-instance v8, Ljava/io/ByteArrayInputStream;
    invoke-direct {v8, v2}, Ljava/io/ByteArrayInputStream;-><init>([B)V
    goto :answer

    :own
    const/4 v0, 0x0
    return-object v0
.end method


# Return the MIME type of a file by the end of its name.
.method static typeOf(Ljava/lang/String;)Ljava/lang/String;
    .registers 5
    sget-object v0, Lpggan/app/Site;->TYPES:[Ljava/lang/String;
    const/4 v1, 0x0
    :next
    array-length v2, v0
    if-ge v1, v2, :unknown
    aget-object v2, v0, v1
    invoke-virtual {p0, v2}, Ljava/lang/String;->endsWith(Ljava/lang/String;)Z
    move-result v3
    add-int/lit8 v1, v1, 0x1
    aget-object v2, v0, v1
    add-int/lit8 v1, v1, 0x1
    if-eqz v3, :next
    return-object v2
    :unknown
    const-string v0, "application/octet-stream"
    return-object v0
.end method


# Ends of names, each followed by its type.
.field static final TYPES:[Ljava/lang/String;


.method static constructor <clinit>()V
    .registers 20
    const-string v0, ".html"
    const-string v1, "text/html"
    const-string v2, ".js"
    const-string v3, "text/javascript"
    const-string v4, ".css"
    const-string v5, "text/css"
    const-string v6, ".json"
    const-string v7, "application/json"
    const-string v8, ".wasm"
    const-string v9, "application/wasm"
    const-string v10, ".png"
    const-string v11, "image/png"
    const-string v12, ".svg"
    const-string v13, "image/svg+xml"
    const-string v14, ".webmanifest"
    const-string v15, "application/manifest+json"
    const-string v16, ".md"
    const-string v17, "text/plain"
    const-string v18, ".txt"
    const-string v19, "text/plain"
    filled-new-array/range {v0 .. v19}, [Ljava/lang/String;
    move-result-object v0
    sput-object v0, Lpggan/app/Site;->TYPES:[Ljava/lang/String;
    return-void
.end method


# Follow no link that leaves the page.
.method public shouldOverrideUrlLoading(Landroid/webkit/WebView;Landroid/webkit/WebResourceRequest;)Z
    .registers 4
    invoke-interface {p2}, Landroid/webkit/WebResourceRequest;->getUrl()Landroid/net/Uri;
    move-result-object v0
    invoke-static {v0}, Lpggan/app/Site;->owns(Landroid/net/Uri;)Z
    move-result v0
    xor-int/lit8 v0, v0, 0x1
    return v0
.end method
