package tenforward;

import io.delta.storage.S3SingleDriverLogStore;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Commits to a Delta table on S3 as delta-rs does: by a conditional put (If-None-Match: *), which the
 * store refuses where the version is there already, whoever wrote it.
 *
 * Delta's own store keeps the writers of one driver apart by a lock in its memory, and no others.
 * Needs hadoop-aws 3.4.2 or later, which knows the option; an earlier one refuses it.
 * (setup/log_store.py compiles this file; Janino, Spark's compiler, knows neither lambdas nor try
 * with resources.)
 */
public class ConditionalPutLogStore extends S3SingleDriverLogStore {
    private static final String IF_ABSENT = "fs.option.create.conditional.overwrite";
    private static final int TRIES = 3;

    public ConditionalPutLogStore(Configuration conf) {
        super(conf);
    }

    /**
     * Throws FileAlreadyExistsException, and writes nothing, where the version is there. What may be
     * replaced (the pointer to the last checkpoint) is none of this class's business.
     *
     * A put whose answer was lost, or that the store takes back because another one was under way,
     * says nothing about who has won: what lies there does. A commit differs from every other one.
     */
    public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration conf)
            throws IOException {
        if (overwrite.booleanValue()) {
            super.write(path, actions, overwrite, conf);
            return;
        }
        byte[] commit = bytesOf(actions);
        FileSystem store = path.getFileSystem(conf);
        IOException failure = null;
        for (int tried = 0; tried < TRIES; tried++) {
            try {
                put(store, path, commit);
                return;
            } catch (IOException error) {
                failure = error;
            }
            byte[] there = read(store, path);
            if (there != null && Arrays.equals(there, commit)) {
                return;
            }
            if (there != null) {
                FileAlreadyExistsException taken = new FileAlreadyExistsException(path.toString());
                taken.initCause(failure);
                throw taken;
            }
        }
        throw failure;
    }

    private byte[] bytesOf(Iterator<String> actions) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        while (actions.hasNext()) {
            bytes.write(((String) actions.next()).getBytes(StandardCharsets.UTF_8));
            bytes.write('\n');
        }
        return bytes.toByteArray();
    }

    /** The store decides when the stream is closed: until then nothing is sent. */
    private void put(FileSystem store, Path path, byte[] commit) throws IOException {
        FSDataOutputStreamBuilder builder = store.createFile(path);
        builder.overwrite(true); // no look before: it would say nothing about a moment later
        builder.must(IF_ABSENT, true);
        FSDataOutputStream out = (FSDataOutputStream) builder.build();
        boolean whole = false;
        try {
            out.write(commit);
            whole = true;
        } finally {
            if (!whole) {
                out.abort(); // closed, it would put what is there
            }
        }
        out.close();
    }

    /** What lies there; null where nothing does. */
    private byte[] read(FileSystem store, Path path) throws IOException {
        FSDataInputStream in;
        try {
            in = store.open(path);
        } catch (FileNotFoundException absent) {
            return null;
        }
        try {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            byte[] some = new byte[1 << 16];
            for (int count = in.read(some); count >= 0; count = in.read(some)) {
                bytes.write(some, 0, count);
            }
            return bytes.toByteArray();
        } catch (FileNotFoundException absent) { // S3A asks for the object at the first read
            return null;
        } finally {
            in.close();
        }
    }
}
