package tenforward;

import io.delta.storage.HDFSLogStore;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * Commits to a Delta table in a folder as delta-rs does: the new version is written under another
 * name and linked to its own, which the file system refuses where the version is there already.
 *
 * Delta's own store looks whether the version is there and then renames, which replaces what came
 * in between: beside delta-rs both writers then believe to have committed one version, and the rows
 * of one are lost. (setup/log_store.py compiles this file; Janino, Spark's compiler, knows neither
 * lambdas nor try with resources.)
 */
public class LinkLogStore extends HDFSLogStore {
    private static final OpenOption[] NEW_FILE = {
        StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE
    };

    public LinkLogStore(Configuration conf) {
        super(conf);
    }

    /**
     * Throws FileAlreadyExistsException, and writes nothing, where the version is there. What may be
     * replaced (the pointer to the last checkpoint) is none of this class's business.
     */
    public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration conf)
            throws IOException {
        if (overwrite.booleanValue()) {
            super.write(path, actions, overwrite, conf);
            return;
        }
        java.nio.file.Path version = Paths.get(path.toUri().getPath(), new String[0]);
        java.nio.file.Path staged =
            version.resolveSibling("." + version.getFileName() + "." + UUID.randomUUID() + ".tmp");
        try {
            writeThrough(staged, actions);
            Files.createLink(version, staged);
        } finally {
            Files.deleteIfExists(staged);
        }
    }

    /** On the disk before it has its name: no version is ever half there, not after a power loss. */
    private void writeThrough(java.nio.file.Path file, Iterator<String> actions) throws IOException {
        FileChannel channel = FileChannel.open(file, NEW_FILE);
        try {
            BufferedWriter out = new BufferedWriter(
                new OutputStreamWriter(Channels.newOutputStream(channel), StandardCharsets.UTF_8));
            while (actions.hasNext()) {
                out.write((String) actions.next());
                out.write("\n");
            }
            out.flush();
            channel.force(true);
        } finally {
            channel.close();
        }
    }
}
