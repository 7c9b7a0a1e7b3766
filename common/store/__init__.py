"""Where artifacts lie: named bytes in a folder or a bucket, and the sealed store on top of them."""
